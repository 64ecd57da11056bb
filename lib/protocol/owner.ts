import type { Principal } from '../http/auth.ts'

/** Issuer and subject, so that a refreshed token keeps what is its own. The length keeps the two apart whatever they hold. */
export function ownerOf (principal: Principal | null): string | null {
  if (principal === null) return null
  const { issuer = '', id } = principal
  return `${issuer.length}:${issuer}${id}`
}
