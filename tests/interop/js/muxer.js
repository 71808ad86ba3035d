import * as chainsafe from '@chainsafe/libp2p-yamux'
import { defaultLogger } from '@libp2p/logger'
import { tcp } from '@libp2p/tcp'
import * as libp2p from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { Answer } from './lines.js'
import * as pattern from './pattern.js'
import { ByteStream } from './stream.js'

const STREAMS = 4096

export const IMPLEMENTATIONS = {
  'chainsafe-yamux': chainsafe,
  'libp2p-yamux': libp2p
}

function settings (words) {
  const init = { maxInboundStreams: STREAMS, maxOutboundStreams: STREAMS }
  for (const word of words) {
    const [key, value] = word.split('=')
    if (key === 'open_timeout') throw new Answer(`unsupported ${key}`)
    if (key !== 'window') throw new Error(`unknown setting ${key}`)
    init.streamOptions = { maxStreamWindowSize: Number(value) }
  }
  return init
}

/** One connection: the muxer, the connection beneath it, and the streams that the peer has opened. */
class Connection {
  incoming = []
  accepting = []
  over = Promise.withResolvers()
  signal = new AbortController()

  constructor (muxer, connection) {
    this.muxer = muxer
    this.connection = connection
    this.over.promise.catch(() => {}).then(() => {
      const reason = new Error('the connection is over')
      this.signal.abort(reason)
      for (const { reject } of this.accepting.splice(0)) reject(reason)
    })

    muxer.addEventListener('stream', event => {
      const stream = new ByteStream(event.detail)
      const next = this.accepting.shift()
      if (next != null) next.resolve(stream)
      else this.incoming.push(stream)
    })
    connection.addEventListener('close', event => {
      if (event.error != null) this.over.reject(event.error)
      else this.over.resolve()
    })
    // The muxer has no event for its own end, but it can only come to it by something that it has read.
    connection.addEventListener('message', () => {
      if (muxer.status === 'closed') this.over.resolve()
    })
  }

  async accept () {
    if (this.incoming.length > 0) return this.incoming.shift()
    this.signal.signal.throwIfAborted()
    const next = Promise.withResolvers()
    this.accepting.push(next)
    return next.promise
  }
}

export function verbs (implementation) {
  const { yamux, GoAwayCode } = IMPLEMENTATIONS[implementation]
  const components = { logger: defaultLogger() }
  let begun = false
  let connected = Promise.withResolvers()
  let streams = new Map()

  /** A connection in place of the one before. */
  function next () {
    if (begun) {
      connected = Promise.withResolvers()
      streams = new Map()
    }
    begun = true
    connected.promise.catch(() => {})
    return connected
  }

  /** Takes the place of the upgrader, which would negotiate encryption and the muxer. */
  function upgrade (init, connected) {
    const factory = yamux(init)(components)
    return async connection => {
      connected.resolve(new Connection(factory.createStreamMuxer(connection), connection))
      return connection
    }
  }

  function stream (name) {
    if (!streams.has(name)) throw new Error(`no stream ${name}`)
    return streams.get(name)
  }

  return {
    async listen (...words) {
      const connected = next()
      const transport = tcp({ closeServerOnMaxConnections: { closeAbove: 1, listenBelow: 0 } })(components)
      const listener = transport.createListener({ upgrader: { upgradeInbound: upgrade(settings(words), connected) } })
      await listener.listen(multiaddr('/ip4/127.0.0.1/tcp/0'))
      const [, , host, , port] = listener.getAddrs()[0].toString().split('/')
      return [`${host}:${port}`]
    },

    async dial (address, ...words) {
      const connected = next()
      const [host, port] = address.split(':')
      const upgradeOutbound = upgrade(settings(words), connected)
      try {
        await tcp()(components).dial(multiaddr(`/ip4/${host}/tcp/${port}`), {
          // It belongs to the socket for life, so that a timeout would end the connection as well.
          signal: new AbortController().signal,
          upgrader: { upgradeOutbound }
        })
      } catch (error) {
        connected.reject(error)
        throw error
      }
    },

    async open (name) {
      const { muxer } = await connected.promise
      streams.set(name, new ByteStream(await muxer.createStream()))
    },

    async accept (name) {
      const connection = await connected.promise
      streams.set(name, await connection.accept())
    },

    async send (name, ...numbers) {
      await pattern.send(stream(name), ...numbers.map(Number))
    },

    async receive (name, ...numbers) {
      await pattern.receive(stream(name), ...numbers.map(Number))
    },

    async end (name) {
      await pattern.end(stream(name))
    },

    async finish (name) {
      await stream(name).finish()
    },

    async reset (name, code) {
      if (Number(code) !== 0) throw new Answer('unsupported its API resets without a code')
      stream(name).reset()
    },

    async drop (name) {
      await stream(name).drop()
    },

    async echo (name) {
      return [await stream(name).echo()]
    },

    async ping () {
      const { muxer, signal: { signal } } = await connected.promise
      return [await muxer.ping({ signal }) * 1000]
    },

    async goaway () {
      throw new Answer('unsupported its API sends a go-away only to end its session')
    },

    async close (code) {
      const { muxer, connection } = await connected.promise
      const reason = Number(code)
      if (GoAwayCode[reason] == null) throw new Answer(`unsupported code ${code}`)
      await muxer.close({ reason })
      await connection.close()
    },

    async closed () {
      const { over } = await connected.promise
      await over.promise
    },

    async streams () {
      const { muxer } = await connected.promise
      return [muxer.streams.length]
    }
  }
}
