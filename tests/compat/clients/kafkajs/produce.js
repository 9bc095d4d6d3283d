// Writes records with kafkajs, for the tests of the folders above.
//
//   NODE_PATH=... node produce.js BOOTSTRAP TOPIC CODEC     records as JSON lines on stdin
//
// Bytes are base64, null is null; everything goes to partition 0 in one idempotent send.
'use strict'

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@mongodb-js/zstd')

const { GZIP, LZ4, None, Snappy, ZSTD } = CompressionTypes
CompressionCodecs[Snappy] = snappy
CompressionCodecs[LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
})
CompressionCodecs[ZSTD] = () => ({
  compress: (encoder) => zstd.compress(encoder.buffer),
  decompress: (buffer) => zstd.decompress(buffer),
})

const bytes = (text) => (text === null ? null : Buffer.from(text, 'base64'))

// kafkajs takes several values of one header as an array.
function headers(list) {
  const out = {}
  for (const { key, value } of list ?? []) {
    out[key] = bytes(value)
  }
  return out
}

async function main() {
  const [bootstrap, topic, codec] = process.argv.slice(2)
  let text = ''
  for await (const chunk of process.stdin) text += chunk
  const messages = text.trim().split('\n').map((line) => {
    const r = JSON.parse(line)
    return {
      partition: 0,
      key: bytes(r.key),
      value: bytes(r.value),
      headers: headers(r.headers),
      timestamp: r.timestamp ? String(r.timestamp) : undefined,
    }
  })
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.WARN })
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false })
  await producer.connect()
  const compression = { none: None, gzip: GZIP, snappy: Snappy, lz4: LZ4, zstd: ZSTD }[codec]
  await producer.send({ topic, acks: -1, compression, messages })
  await producer.disconnect()
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
