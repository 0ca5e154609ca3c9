// Follows our labels as a consumer in TypeScript would, and checks each: its form by the lexicons of the network's
// client, and of each whose seq EVERY divides the signature by the network's cryptography.
// Usage: node --experimental-websocket labels.mjs WEBSOCKET_ORIGIN DID_KEY CURSOR COUNT EVERY
// Prints a JSON list of [seq, uri, val, negated, expires].
import { schemas } from '@atproto/api'
import { Lexicons } from '@atproto/lexicon'
import { decodeAll, encode } from '@atproto/lex-cbor'
import { verifySignature } from '@atproto/crypto'

const [origin, key, cursor, count, every] = process.argv.slice(2)
const lexicons = new Lexicons(schemas)
const socket = new WebSocket(`${origin}/xrpc/com.atproto.label.subscribeLabels?cursor=${cursor}`)
socket.binaryType = 'arraybuffer'
const found = []
const messages = []
let wake = () => {}
socket.onmessage = ({ data }) => { messages.push(data); wake() }
socket.onclose = () => { messages.push(null); wake() }

while (found.length < Number(count)) {
  if (messages.length === 0) await new Promise((resolve) => { wake = resolve })
  const data = messages.shift()
  if (data === undefined) continue
  if (data === null) throw new Error('closed')
  const [header, body] = [...decodeAll(new Uint8Array(data))]
  if (header.op !== 1 || header.t !== '#labels') throw new Error(JSON.stringify([header, body]))
  const $type = 'com.atproto.label.subscribeLabels#labels'
  lexicons.assertValidXrpcMessage('com.atproto.label.subscribeLabels', { $type, ...body })
  for (const { sig, ...label } of body.labels) {
    const asked = body.seq % Number(every) === 0
    if (asked && !(await verifySignature(key, encode(label), sig))) throw new Error(`bad signature at ${body.seq}`)
    found.push([body.seq, label.uri, label.val, label.neg ?? false, label.exp !== undefined])
  }
}
console.log(JSON.stringify(found))
socket.close()
