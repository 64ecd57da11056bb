import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { makeFolder } from './daemon.ts'

export interface Certificate {
  readonly cert: Buffer
  readonly certFile: string
  readonly keyFile: string
  /** Both in one file, as haproxy takes them. */
  readonly bothFile: string
}

/** A certificate for loopback that nobody but the test trusts. */
export function makeCertificate (t: Test): Certificate {
  const folder = makeFolder(t, 'certificate')
  const [keyFile, certFile, bothFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem'), join(folder, 'both.pem')]
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,DNS:mcp.example,DNS:evil.example,IP:127.0.0.1', '-keyout', keyFile, '-out', certFile
  ], { stdio: 'ignore' })
  const cert = readFileSync(certFile)
  writeFileSync(bothFile, Buffer.concat([cert, readFileSync(keyFile)]))
  return { cert, certFile, keyFile, bothFile }
}
