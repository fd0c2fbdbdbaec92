// Runs a plugin that was written for the original: gives it the globals `config`,
// `manager` and `network`, and turns what passes between it and vippyd into lines of
// JSON (docs/PLUGINS.md).
'use strict';

(function () {
  const { EventEmitter } = require('events');
  const fs = require('fs');
  const { createRequire } = require('module');
  const readline = require('readline');
  const vm = require('vm');

  delete process.env.VIPPY_SHIM;
  const file = process.argv[1];

  // Standard output is the way to vippyd: what a plugin prints goes to the log.
  const write = process.stdout.write.bind(process.stdout);
  const say = (command) => write(JSON.stringify(command) + '\n');
  globalThis.console = new console.Console(process.stderr, process.stderr);
  process.stdout.write = process.stderr.write.bind(process.stderr);

  // How things are, as far as vippyd has told.
  const now = {
    here: '',
    state: 'booting',
    reason: 'none',
    detail: '',
    config: { version: 0, nodes: [], groups: [] },
    up: new Set(),
    wanted: new Set(),
    neighbours: new Map(),
  };
  // Reasons of this plugin for which the node is unfit.
  const unfit = new Set();

  const group = (name) => now.config.groups.find((one) => one.group === name);
  const vips = (one) => one.vips.filter((entry) => typeof entry === 'object');
  const taking_part = () => now.state === 'active' || now.state === 'standby';
  const why_not = () => {
    if (unfit.size > 0) return unfit.values().next().value;
    if (taking_part()) return null;
    return now.reason === 'none' ? now.state : now.reason;
  };

  class Config extends EventEmitter {
    active(state, reason) {
      if (arguments.length > 0) {
        const name = reason === undefined ? '' : String(reason);
        if (state) unfit.delete(name);
        else unfit.add(name);
        say({ active: Boolean(state), reason: name });
      }
      return unfit.size === 0 && taking_part();
    }

    inactive_reason() { return why_not(); }

    mature() { return now.state !== 'booting'; }

    hostname() { return now.here; }

    version() { return now.config.version; }

    nodes() { return now.config.nodes.slice(); }

    vips() { return now.config.groups.map((one) => one.vips.slice()); }

    log(priority, ...words) {
      say({ log: words.map(String).join(' '), priority: String(priority) });
    }
  }

  class Manager extends EventEmitter {
    state() {
      return {
        mature: config.mature(),
        active: config.active(),
        inactive_reason: config.inactive_reason(),
        ownership: { [now.here]: this.mine() },
      };
    }

    arpcache() {
      const cache = {};
      for (const stations of now.neighbours.values()) Object.assign(cache, stations);
      return cache;
    }

    // What this node wants to own has changed.
    wants(name, up) {
      const before = this.mine();
      if (up) now.wanted.add(name);
      else now.wanted.delete(name);
      this.emit('state-change', this.mine(), before);
      for (const vip of vips(group(name) || { vips: [] })) this.emit(up ? 'up' : 'down', vip);
    }

    mine() { return [...now.wanted].map(group).filter(Boolean).map((one) => one.vips.slice()); }
  }

  class Network extends EventEmitter {
    changed(name, up, ok) {
      for (const vip of vips(group(name) || { vips: [] })) this.emit(up ? 'up' : 'down', ok, vip);
    }
  }

  const config = new Config();
  const manager = new Manager();
  const network = new Network();

  // An announcement as the original sent it; what it was secured with is lacking.
  const message = (told) => {
    const same = told.version === now.config.version;
    return {
      me: told.node,
      active: told.active,
      version: told.version,
      vips: same ? config.vips() : [],
      nodes: same ? config.nodes() : [],
      arpcache: now.neighbours.get(told.node) || {},
    };
  };

  const heard = {
    'hello'(told) {
      Object.assign(now, { here: told.here, state: told.state, reason: told.reason });
      for (const { group: name } of told.up) {
        now.up.add(name);
        now.wanted.add(name);
      }
    },
    'config'(told) {
      const first = now.config.version === 0 && now.config.groups.length === 0;
      now.config = told;
      if (!first) config.emit('config-change');
    },
    'state-changed'(told) { Object.assign(now, { state: told.state, reason: told.reason }); },
    'taking'(told) { manager.wants(told.group, true); },
    'adopted'(told) { heard['group-up'](told); },
    'group-up'(told) {
      now.up.add(told.group);
      if (!now.wanted.has(told.group)) manager.wants(told.group, true);
      network.changed(told.group, true, true);
    },
    'plumb-failed'(told) {
      now.up.delete(told.group);
      network.changed(told.group, true, false);
      if (now.wanted.has(told.group)) manager.wants(told.group, false);
    },
    'letting-go'(told) { if (now.wanted.has(told.group)) manager.wants(told.group, false); },
    'group-down'(told) {
      if (!now.up.delete(told.group)) return;
      network.changed(told.group, false, true);
    },
    'neighbours'(told) { now.neighbours.set(told.node, told.stations); },
    // A node of the original hears itself, too.
    'send-announce'(told) {
      config.emit('send-announce', message(told));
      config.emit('recv-announce', message(told), { address: '127.0.0.1', port: 0 });
    },
    'recv-announce'(told) {
      config.emit('recv-announce', message(told), { address: told.address, port: told.port });
    },
    'ignore'(told) {
      for (let frame = 0; frame < Math.min(told.frames, 100); frame += 1) {
        config.emit('ignore', told.why, {}, {});
      }
    },
    'stop'() {
      lines.close();
      process.stdin.destroy();
      config.emit('stop');
    },
  };

  const fail = (error) => {
    const text = error && error.stack ? error.stack : String(error);
    for (const line of text.split('\n').slice(0, 20)) say({ log: line, priority: 'err' });
    process.exitCode = 70;
    // What was said must have left before the end.
    process.stdin.destroy();
    write('', () => process.exit(70));
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);

  const lines = readline.createInterface({ input: process.stdin, terminal: false });
  let begun = false;
  lines.on('line', (line) => {
    const told = JSON.parse(line);
    if (Object.hasOwn(heard, told.event)) heard[told.event](told);
    if (!begun && told.event === 'config') {
      begun = true;
      begin();
    }
  });
  // vippyd is gone.
  lines.on('close', () => { if (!begun) process.exit(0); });

  // The plugin sees things as they are when it begins.
  function begin() {
    say({ watch: true });
    const module = { exports: {}, filename: file };
    const own = createRequire(file);
    const globals = { config, manager, network, require: own, module, exports: module.exports };
    Object.assign(globalThis, globals, { __filename: file, __dirname: require('path').dirname(file) });
    vm.runInThisContext(fs.readFileSync(file, 'utf8').replace(/^#!.*/, ''), { filename: file });
  }
})();
