import { createPrivateKey, createPublicKey, createSecretKey, KeyObject } from 'node:crypto'
import type { JsonWebKey, webcrypto } from 'node:crypto'
import { types } from 'node:util'
import { invalid } from '../identity/settings.ts'

const RSA = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const EDDSA = ['EdDSA', 'Ed25519']
const CURVES = new Map([['prime256v1', 'ES256'], ['secp384r1', 'ES384'], ['secp521r1', 'ES512']])
// RFC 7518, section 3.2: a secret is at least as long as its hash.
const SECRET_BYTES = new Map([['HS256', 32], ['HS384', 48], ['HS512', 64]])
const MIN_RSA_BITS = 2_048

/** What a token may be signed with unless its key is a secret. */
export const ASYMMETRIC = [...RSA, ...CURVES.values(), ...EDDSA]
export const ALGORITHMS = [...ASYMMETRIC, ...SECRET_BYTES.keys()]

/** A key that you hold yourself: a public key, or the secret that the issuer shares with you. */
export type OwnKey = KeyObject | webcrypto.CryptoKey | JsonWebKey | Uint8Array

/** The key and the algorithms that it can be used with, so that no public key ever serves as a secret. Throws FST_MCP_OPTION_INVALID. */
export function ownKey (given: OwnKey, wanted: readonly string[] | undefined): { key: KeyObject, algorithms: string[] } {
  const key = readKey(given)
  const suited = suitedTo(key)
  const unsuited = wanted?.filter(algorithm => !suited.includes(algorithm)) ?? []
  if (suited.length === 0) throw invalid('`jwt.key` is too short, or of a kind that no algorithm takes')
  if (unsuited.length > 0) throw invalid(`\`jwt.algorithms\` do not go with \`jwt.key\`: ${unsuited.join(', ')}`)
  return { key, algorithms: [...wanted ?? suited] }
}

function readKey (given: OwnKey): KeyObject {
  let key: KeyObject
  try {
    key = toKeyObject(given)
  } catch {
    // The reason may quote the key.
    throw invalid('`jwt.key` must be a KeyObject, a CryptoKey, a JWK or the bytes of a secret')
  }
  if (key.type === 'private') throw invalid('`jwt.key` must be a public key: the private one belongs to the issuer alone')
  // Whoever has the public key could sign with it.
  if (key.type === 'secret' && key.export().toString('latin1').trimStart().startsWith('-----BEGIN')) {
    throw invalid('`jwt.key` is a PEM, not a secret: use `createPublicKey` of node:crypto')
  }
  return key
}

function toKeyObject (given: OwnKey): KeyObject {
  if (types.isKeyObject(given)) return given
  if (types.isCryptoKey(given)) return KeyObject.from(given)
  if (given instanceof Uint8Array) return createSecretKey(given)
  if (given.kty === 'oct') return createSecretKey(String(given.k), 'base64url')
  const parameters = { key: given, format: 'jwk' } as const
  // Of a private key it would silently take the public half.
  return given.d === undefined ? createPublicKey(parameters) : createPrivateKey(parameters)
}

function suitedTo (key: KeyObject): string[] {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details, symmetricKeySize: size = 0 } = key
  if (key.type === 'secret') return [...SECRET_BYTES].filter(([, bytes]) => size >= bytes).map(([algorithm]) => algorithm)
  if (type === 'ed25519') return EDDSA
  if (type === 'rsa') return Number(details?.modulusLength) >= MIN_RSA_BITS ? RSA : []
  const algorithm = CURVES.get(String(details?.namedCurve))
  return algorithm === undefined ? [] : [algorithm]
}
