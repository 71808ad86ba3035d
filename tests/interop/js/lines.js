import { createInterface } from 'node:readline'

/** An answer that is no `ok`; thrown, so that it passes through whatever is in between. */
export class Answer extends Error {}

function describe (error) {
  // Some waits of the libraries are rejected with the event that ended them.
  const cause = error instanceof Event ? error.error ?? 'closed' : error
  return String(cause).replace(/\s+/g, ' ').trim()
}

/** Answers requests from standard input. `verbs` maps each verb to a function that returns the words after `ok`. */
export function serve (verbs) {
  const answer = async line => {
    const [tag, verb, ...words] = line.split(' ')
    let result
    try {
      if (!Object.hasOwn(verbs, verb)) throw new Error(`unknown verb ${verb}`)
      result = ['ok', ...(await verbs[verb](...words)) ?? []].join(' ')
    } catch (error) {
      result = error instanceof Answer ? error.message : `failed ${describe(error)}`
    }
    process.stdout.write(`${tag} ${result}\n`)
  }

  const input = createInterface({ input: process.stdin })
  input.on('line', answer)
  input.on('close', () => process.exit(0))
}
