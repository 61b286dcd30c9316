'use strict';
// Makes the functions' zips before osls packages them, and tells it which Python made their bytecode.

const { execFileSync } = require('node:child_process');
const { readFileSync } = require('node:fs');
const path = require('node:path');

module.exports = class Packaging {
  constructor(serverless) {
    this.service = serverless.service;
    this.folder = serverless.serviceDir;
    this.hooks = { 'before:package:initialize': () => this.make() };
  }

  make() {
    const options = `ARGS=--architecture=${this.service.provider.architecture}`;
    execFileSync('make', ['--silent', 'package', options], { cwd: this.folder, stdio: ['ignore', 2, 2] });
    const runtime = readFileSync(path.join(this.folder, 'build', 'lambda', 'runtime'), 'utf8').trim();
    this.service.provider.runtime = runtime;
  }
};
