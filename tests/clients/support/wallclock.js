// A wall clock for one broker that a test can turn, by libfaketime. Monotonic time runs on as it is.

import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Debian and its kin keep it in a folder named after the machine's kind. */
function library() {
  const paths = readdirSync('/usr/lib').map((kind) => `/usr/lib/${kind}/faketime/libfaketimeMT.so.1`);
  const found = paths.find((path) => existsSync(path));
  if (!found) throw new Error('no libfaketime: `make setup` installs it (package faketime)');
  return found;
}

export class WallClock {
  #folder = mkdtempSync(join(tmpdir(), 'broker-clock-'));
  #file = join(this.#folder, 'offset');
  #library = library();

  constructor() {
    this.set('+0');
  }

  /** What a broker has to be started in to go by this clock. */
  get env() {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1', // the file is read whenever the time is
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
  }

  /** Sets it off from the true time: `+5h`, `-90m`, `+0`. In one step, never half-written. */
  set(offset) {
    writeFileSync(`${this.#file}.new`, `${offset}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }

  remove() {
    rmSync(this.#folder, { recursive: true });
  }
}
