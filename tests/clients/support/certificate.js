// Certificates for 127.0.0.1, made by openssl, each its own authority.

import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate and its key as PEM, and the fingerprint clients see. */
export function certificate() {
  const folder = mkdtempSync(join(tmpdir(), 'broker-certificate-'));
  try {
    const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
    const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
    const use = ['-addext', 'basicConstraints=critical,CA:FALSE']; // as servers' are
    const files = ['-keyout', key, '-out', cert];
    execFileSync('openssl', ['req', '-x509', ...algorithm, '-days', '2', ...name, ...use, ...files], {
      stdio: 'pipe',
    });
    const pem = readFileSync(cert, 'utf8');
    const { fingerprint256 } = new X509Certificate(pem);
    return { cert: pem, key: readFileSync(key, 'utf8'), fingerprint: fingerprint256 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Two files with a certificate and its key, for a broker; gone when the process ends. */
export class Pair {
  constructor(from = certificate()) {
    this.folder = mkdtempSync(join(tmpdir(), 'broker-tls-'));
    process.once('exit', () => rmSync(this.folder, { recursive: true, force: true }));
    this.flags = { 'tls-cert': join(this.folder, 'cert.pem'), 'tls-key': join(this.folder, 'key.pem') };
    this.put(from);
  }

  /** Replaces what is in the files, one after the other, each in one go. */
  put({ cert, key }) {
    for (const [file, text] of [[this.flags['tls-cert'], cert], [this.flags['tls-key'], key]]) {
      writeFileSync(`${file}.new`, text, { mode: 0o600 });
      renameSync(`${file}.new`, file);
    }
  }
}
