// Asks our queries as an app in TypeScript would: the network's client with our lexicons added.
// Usage: node query.mjs ORIGIN LEXICON_FOLDER, calls as JSON [{nsid, params}, …] on stdin.
// Prints a JSON list, one {data} or {status, error} for each call. The client checks each answer
// against its lexicon by itself.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { AtpAgent } from '@atproto/api'

const [origin, folder] = process.argv.slice(2)
const agent = new AtpAgent({ service: origin })

for (const path of readdirSync(folder, { recursive: true })) {
  if (!path.endsWith('.json')) continue
  const document = JSON.parse(readFileSync(join(folder, path), 'utf8'))
  try {
    agent.lex.add(document)
  } catch (error) {
    if (!String(error.message).includes('already been registered')) throw error
  }
}

const answers = []
for (const { nsid, params } of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    const { data } = await agent.call(nsid, params)
    agent.lex.assertValidXrpcOutput(nsid, data)
    answers.push({ data })
  } catch (error) {
    if (error.status === undefined) throw error
    answers.push({ status: error.status, error: error.error })
  }
}
console.log(JSON.stringify(answers))
