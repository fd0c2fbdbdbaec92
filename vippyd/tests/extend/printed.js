    config.on('stop', function() {
        // stop listeners
        // clearIntervals
        // clearTimeouts
        // etc.
    });
   var job = setInterval(function() {
     var state = doSomething(); // true or false
     config.active(state, "doSomething");
   }, 5000);
