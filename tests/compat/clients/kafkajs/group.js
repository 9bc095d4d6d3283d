// Reads records as a member of a group with kafkajs, for the tests of the folders above.
//
//   NODE_PATH=... node group.js BOOTSTRAP GROUP TOPIC N     commits N records and prints their values
'use strict'

const { Kafka, logLevel } = require('kafkajs')

async function main() {
  const [bootstrap, groupId, topic, count] = process.argv.slice(2)
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.WARN })
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 200 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const values = []
  await new Promise((resolve, reject) => {
    consumer
      .run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => {
          if (values.length === Number(count)) return
          values.push(String(message.value))
          if (values.length < Number(count)) return
          const offset = String(BigInt(message.offset) + 1n)
          await consumer.commitOffsets([{ topic, partition, offset }])
          resolve()
        },
      })
      .catch(reject)
    consumer.on(consumer.events.CRASH, (e) => reject(e.payload.error))
  })
  await consumer.disconnect()
  console.log(values.join('\n'))
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
