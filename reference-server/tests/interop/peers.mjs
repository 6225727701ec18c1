// Do jose and openid-client understand the reference server, and it them? Reads the servers from stdin, prints one line per peer.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as jose from 'jose'
import * as openid from 'openid-client'

const plan = JSON.parse(readFileSync(0, 'utf8'))
const user = { username: 'alice', password: 'correct-horse-9' }
const text = (file) => readFileSync(file, 'utf8')

async function post(server, path, body, status = 200) {
  const reply = await fetch(server.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  assert.equal(reply.status, status, `${server.alg} ${path}`)
  return reply.json()
}

async function hello(server, token, status = 200) {
  const reply = await fetch(server.url + '/hello/', { headers: { authorization: `Bearer ${token}` } })
  assert.equal(reply.status, status, server.alg)
  return reply.json()
}

async function signatures(server) {
  const { alg } = server
  const secret = alg.startsWith('HS')
  const signing = secret ? readFileSync(server.private) : await jose.importPKCS8(text(server.private), alg)
  const published = secret ? signing : jose.createRemoteJWKSet(new URL(server.url + '/.well-known/jwks.json'))
  const pair = await post(server, '/api/token/', user)
  for (const name of ['access', 'refresh']) {
    const { payload, protectedHeader } = await jose.jwtVerify(pair[name], published, {
      algorithms: [alg],
      requiredClaims: ['exp', 'iat', 'sub', 'jti'],
    })
    const theirs = await new jose.SignJWT({ ...payload, peer: 'jose' })
      .setProtectedHeader({ alg, typ: 'JWT', kid: protectedHeader.kid })
      .sign(signing)
    await post(server, '/api/token/verify/', { token: theirs })
    if (name === 'access') assert.equal((await hello(server, theirs)).user, 'alice')
    else await post(server, '/api/token/refresh/', { refresh: theirs })
  }
  await post(server, '/api/token/refresh/', { refresh: pair.refresh }, 401)
}

async function encryption(server) {
  const { alg } = server
  const at = server.private
  const own = alg === 'dir' ? readFileSync(at) : await jose.importPKCS8(text(at), alg)
  const theirs = alg === 'dir' ? own : await jose.importSPKI(text(server.public), alg)
  const pair = await post(server, '/api/token/', user)
  const { plaintext, protectedHeader } = await jose.compactDecrypt(pair.access, own)
  // Encrypted again by them: the same signed token, in another envelope.
  const again = await new jose.CompactEncrypt(plaintext)
    .setProtectedHeader({ alg, enc: 'A256GCM', cty: 'JWT', kid: protectedHeader.kid })
    .encrypt(theirs)
  assert.notEqual(again, pair.access)
  assert.equal((await hello(server, again)).user, 'alice')
  await hello(server, new TextDecoder().decode(plaintext), 401)
}

async function discovery(server) {
  const config = await openid.discovery(new URL(server.url), 'assay', 'assay-secret', undefined, {
    execute: [openid.allowInsecureRequests],
  })
  assert.equal(config.serverMetadata().issuer, server.url)
  openid.enableNonRepudiationChecks(config)
  const first = await openid.genericGrantRequest(config, 'password', { ...user, scope: 'openid profile read' })
  const { sub } = jose.decodeJwt(first.access_token)
  assert.equal((await openid.fetchUserInfo(config, first.access_token, sub)).sub, sub)
  const next = await openid.refreshTokenGrant(config, first.refresh_token)
  assert.equal(next.claims()?.sub ?? sub, sub)
  assert.equal((await openid.tokenIntrospection(config, next.access_token)).active, true)
  await openid.tokenRevocation(config, next.refresh_token)
  assert.equal((await openid.tokenIntrospection(config, next.access_token)).active, false)
  const own = await openid.clientCredentialsGrant(config, { scope: 'read' })
  assert.equal(own.token_type, 'bearer')
}

for (const server of plan.servers) {
  await signatures(server)
  console.log('jose', server.alg)
}
for (const server of plan.sealed) {
  await encryption(server)
  console.log('jose', server.alg)
}
for (const server of plan.servers.filter(({ alg }) => ['ES256', 'RS256', 'EdDSA'].includes(alg))) {
  await discovery(server)
  console.log('openid-client', server.alg)
}
