import { serve } from './lines.js'

const implementation = process.argv[2]

// The others need not be loaded.
const { verbs } = await import(implementation === 'node' ? './node.js' : './muxer.js')

serve(verbs(implementation))
