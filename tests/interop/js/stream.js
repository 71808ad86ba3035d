import { Answer } from './lines.js'

const RESET = new Error('reset on request')

/** A libp2p stream, which tells what happens by events, as one that is read and written by calls. */
export class ByteStream {
  #raw
  #chunks = []
  #reading = false
  #ended // the status of the stream when its readable end ended
  #error // of the event that closed it
  #waiting = []

  constructor (raw) {
    this.#raw = raw
    // What a paused stream keeps is bounded by its window.
    raw.maxReadBufferLength = Infinity
    // It has ended already when the peer finished at once. What was read too far by the negotiation of the protocol is put
    // back after that, and comes when there is a listener.
    if (raw.readableEnded) this.#ended = raw.status
    raw.addEventListener('end', () => {
      this.#ended = raw.status
      this.#wake()
    })
    raw.addEventListener('close', event => {
      this.#error = event.error
      this.#wake()
    })
    raw.addEventListener('drain', () => this.#wake())
    raw.addEventListener('idle', () => this.#wake())
    raw.addEventListener('message', event => this.#onMessage(event.data))
  }

  #onMessage (data) {
    if (data instanceof Uint8Array) this.#chunks.push(data)
    else this.#chunks.push(...data)
    // A stream that is paused gives no credit. Not at once: the frame that is just being handled is answered first.
    if (!this.#reading) queueMicrotask(() => this.#pause())
    this.#wake()
  }

  #pause () {
    if (!this.#reading && this.#raw.readStatus === 'readable') this.#raw.pause()
  }

  #resume () {
    try {
      this.#raw.resume()
    } catch {
      // The connection is over, so that the credit could not be sent; what had come before was handed out first.
    }
  }

  #wake () {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #change () {
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  /** Throws what the stream says of a status that is no orderly end. */
  #check (status) {
    if (status === 'reset') throw new Answer('reset remote -')
    if (status !== 'aborted') return
    if (this.#error === RESET) throw new Answer('reset local -')
    throw this.#error ?? new Error('the stream is aborted')
  }

  /** Up to `max` bytes, or `null` when the stream has ended. */
  async read (max) {
    while (this.#chunks.length === 0) {
      if (this.#raw.readStatus === 'paused') {
        this.#resume()
      } else if (this.#ended != null && this.#raw.readBufferLength === 0) {
        this.#check(this.#ended)
        return null
      } else {
        this.#reading = true
        await this.#change()
        this.#reading = false
      }
    }
    const chunk = this.#chunks.shift()
    if (chunk.length > max) this.#chunks.unshift(chunk.subarray(max))
    return chunk.subarray(0, max)
  }

  async send (bytes) {
    try {
      this.#raw.send(bytes)
      // The events tell when there is room, each time.
      while (this.#raw.writableNeedsDrain || this.#raw.writeBufferLength > 0) {
        if (this.#raw.writeStatus === 'closed') throw new Error('the stream is closed')
        await this.#change()
      }
    } catch (error) {
      this.#check(this.#raw.status)
      throw error
    }
    // What is still queued when the stream is reset is thrown away, which looks like sent.
    this.#check(this.#raw.status)
  }

  async finish () {
    try {
      await this.#raw.close()
    } catch (error) {
      this.#check(this.#raw.status)
      throw error
    }
  }

  async drop () {
    await this.finish()
    await this.#raw.closeRead()
  }

  reset () {
    this.#raw.abort(RESET)
  }

  /** What comes, to its end. */
  async readAll () {
    const chunks = []
    for (let bytes; (bytes = await this.read(Infinity)) != null;) chunks.push(bytes)
    return Buffer.concat(chunks)
  }

  /** Sends back what comes, to its end; returns how much it was. */
  async echo () {
    let length = 0
    for (let bytes; (bytes = await this.read(Infinity)) != null; length += bytes.length) {
      await this.send(bytes)
    }
    await this.finish()
    return length
  }
}
