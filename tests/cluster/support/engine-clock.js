// A wall clock for the engine that a test can turn. Monotonic time runs on as it is. It needs a C compiler.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../../../scripts/skew.c', import.meta.url));

const HOUR = 3600;

export class EngineClock {
  #folder = mkdtempSync(join(tmpdir(), 'broker-clock-'));
  #library = join(this.#folder, 'skew.so');
  #file = join(this.#folder, 'offset');

  constructor() {
    execFileSync('cc', ['-O2', '-shared', '-fPIC', '-o', this.#library, SOURCE]);
    writeFileSync(this.#file, Buffer.alloc(8));
    process.once('exit', () => rmSync(this.#folder, { recursive: true }));
  }

  /** What an engine has to be started in to go by this clock. */
  get env() {
    return { LD_PRELOAD: this.#library, SKEW: this.#file };
  }

  /** Sets it off from the true time by hours: `+1h`, `-1h`, `+0`. */
  set(offset) {
    const seconds = Buffer.alloc(8);
    seconds.writeBigInt64LE(BigInt(Number.parseInt(offset, 10) * HOUR));
    writeFileSync(this.#file, seconds, { flag: 'r+' });
  }
}
