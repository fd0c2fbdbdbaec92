// A script from the days of the original: asks the management socket, prints
// state, reason, and a line for each owner's group. It knows the original's
// fields and nothing else.
const http = require('http')

function prefix(netmask) {
  return netmask.split('.').map(Number).reduce(function (sum, octet) {
    return sum + octet.toString(2).split('1').length - 1
  }, 0)
}

http.get({ socketPath: process.argv[2], path: '/status' }, function (response) {
  let text = ''
  response.on('data', function (part) { text += part })
  response.on('end', function () {
    const status = JSON.parse(text)
    console.log('State:  ' + (status.state.active ? 'active' : 'inactive'))
    if (!status.state.active) console.log('Reason: ' + status.state.inactive_reason)
    for (const owner in status.state.ownership) {
      status.state.ownership[owner].forEach(function (group) {
        const items = group.slice()
        const preferred = typeof items[0] === 'string' ? ' P(' + items.shift() + ')' : ''
        const addresses = items.map(function (vip) { return vip.ip + '/' + prefix(vip.netmask) })
        const mark = owner === status.identity ? '(*) ' : '    '
        console.log(mark + (owner === '_' ? '(unowned)' : owner) + ': ' + addresses.join(' ') + preferred)
      })
    }
  })
}).on('error', function (error) {
  console.error('control socket: ' + error)
  process.exit(255)
})
