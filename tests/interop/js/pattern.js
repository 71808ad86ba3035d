import { Answer } from './lines.js'

const PERIOD = 65521
const PIECE = 16 * 1024

// The table stands here twice, so that a piece never has to wrap around.
const table = Buffer.alloc(2 * PERIOD)
{
  let x = 0x9E3779B97F4A7C15n
  for (let i = 0; i < PERIOD; i++) {
    x ^= BigInt.asUintN(64, x << 13n)
    x ^= x >> 7n
    x ^= BigInt.asUintN(64, x << 17n)
    table[i] = table[i + PERIOD] = Number((x >> 32n) & 0xFFn)
  }
}

function slice (seed, from, to) {
  const start = (seed % PERIOD * 7919 + from) % PERIOD
  return table.subarray(start, start + to - from)
}

export function equals (bytes, seed, from, to) {
  return slice(seed, from, to).equals(bytes)
}

export async function send (stream, seed, from, to) {
  for (let at = from; at < to; at += PIECE) {
    await stream.send(slice(seed, at, Math.min(at + PIECE, to)))
  }
}

export async function receive (stream, seed, from, to) {
  let at = from
  while (at < to) {
    const bytes = await stream.read(Math.min(PIECE, to - at))
    if (bytes == null) throw new Answer(`end ${at}`)
    const expected = slice(seed, at, at + bytes.length)
    if (!expected.equals(bytes)) throw new Answer(`differs ${at + expected.findIndex((byte, i) => byte !== bytes[i])}`)
    at += bytes.length
  }
}

export async function end (stream) {
  if (await stream.read(1) != null) throw new Answer('more')
}
