import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { Answer } from './lines.js'
import * as pattern from './pattern.js'
import { ByteStream } from './stream.js'

const ECHO = '/sluicegate/echo/1.0.0'
const MESSAGE = '/sluicegate/message/1.0.0'
const LIMITS = { maxInboundStreams: 4096, maxOutboundStreams: 4096 }

/** Runs at most one `start`, since a node either listens or dials before anything else is asked of it. */
function once (start) {
  let result
  return () => (result ??= start())
}

export function verbs () {
  const connected = Promise.withResolvers()
  const identified = Promise.withResolvers()
  const messages = []
  let broken = 0 // messages of which the end did not come

  const start = once(async () => {
    const node = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux(LIMITS)],
      // It would ping by itself, every ten seconds.
      connectionMonitor: { enabled: false },
      services: { identify: identify(), ping: ping() }
    })
    node.addEventListener('connection:open', event => connected.resolve(event.detail))
    node.addEventListener('peer:identify', event => identified.resolve(event.detail))
    await node.handle(ECHO, stream => new ByteStream(stream).echo(), LIMITS)
    await node.handle(MESSAGE, stream => receive(new ByteStream(stream)), LIMITS)
    return node
  })

  async function receive (stream) {
    try {
      messages.push(await stream.readAll())
      await stream.finish()
    } catch (error) {
      console.error('message:', error)
      broken++
    }
  }

  async function open (protocol = ECHO) {
    const connection = await connected.promise
    return new ByteStream(await connection.newStream([protocol]))
  }

  async function echo (stream, seed, length) {
    const write = async () => {
      await pattern.send(stream, seed, 0, length)
      await stream.finish()
    }
    const read = async () => {
      await pattern.receive(stream, seed, 0, length)
      await pattern.end(stream)
    }
    await Promise.all([write(), read()])
  }

  return {
    async listen () {
      const node = await start()
      return node.getMultiaddrs().slice(0, 1)
    },

    async dial (address) {
      const node = await start()
      await node.dial(multiaddr(address))
    },

    async identify () {
      const { agentVersion, protocols } = await identified.promise
      return [agentVersion.replace(/\s/g, '_'), ...protocols]
    },

    async ping () {
      const node = await start()
      const { remotePeer } = await connected.promise
      return [await node.services.ping.ping(remotePeer) * 1000]
    },

    async echo (seed, length) {
      await echo(await open(), Number(seed), Number(length))
    },

    async echoes (count, length) {
      const opened = await Promise.allSettled(Array.from({ length: Number(count) }, () => open()))
      let done = 0
      let refused = 0
      await Promise.all(opened.map(async ({ value: stream }, seed) => {
        if (stream == null) return refused++
        try {
          await echo(stream, seed, Number(length))
          done++
        } catch (error) {
          if (error instanceof Answer && !error.message.startsWith('reset')) throw error
          refused++
        }
      }))
      return [done, refused]
    },

    async messages (count, length) {
      await Promise.all(Array.from({ length: Number(count) }, async () => {
        const stream = await open(MESSAGE)
        await pattern.send(stream, 0, 0, Number(length))
        await stream.drop()
      }))
    },

    async received (length) {
      const whole = messages.filter(message => pattern.equals(message, 0, 0, Number(length))).length
      return [whole, messages.length - whole + broken]
    },

    async connections () {
      const node = await start()
      const { remotePeer } = await connected.promise
      return [node.getConnections(remotePeer).length]
    }
  }
}
