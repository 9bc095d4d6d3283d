"""Writes or reads records with one of the Python clients, for the tests of the folder above.

run.py LIBRARY produce BOOTSTRAP TOPIC CODEC      records as JSON lines on stdin
run.py LIBRARY consume BOOTSTRAP WANTED           WANTED: JSON list of {topic, count}; records as JSON lines on stdout
run.py LIBRARY offset  BOOTSTRAP TOPIC MILLIS     the offset of the first record from that time on
run.py LIBRARY group   BOOTSTRAP GROUP TOPIC N    reads N records as a member, commits; prints their values
run.py LIBRARY create  BOOTSTRAP TOPIC            creates a topic; prints "ok" or the name of the error
run.py LIBRARY send    BOOTSTRAP TOPIC BYTES      sends one record of that many bytes; prints "ok" or the name of the error
run.py confluent-kafka member BOOTSTRAP TOPIC GROUP PROTOCOL
                                                  a member of a group until stdin ends; prints each value on a line

LIBRARY is confluent-kafka or kafka-python. Bytes are base64, null is null; everything goes to partition 0.
"""

import base64
import json
import sys
import threading

TIMEOUT = 40.0


def decode(text):
    return None if text is None else base64.b64decode(text)


def encode(data):
    return None if data is None else base64.b64encode(bytes(data)).decode()


def read_records():
    for line in sys.stdin:
        r = json.loads(line)
        headers = [(h["key"], decode(h["value"])) for h in r["headers"] or []]
        yield decode(r["key"]), decode(r["value"]), headers, r["timestamp"]


def print_record(topic, offset, timestamp, key, value, headers):
    headers = [{"key": k, "value": encode(v)} for k, v in headers or []]
    record = {"topic": topic, "offset": offset, "timestamp": timestamp, "key": encode(key), "value": encode(value), "headers": headers}
    print(json.dumps(record))


class Confluent:
    def __init__(self, bootstrap):
        import confluent_kafka

        self.lib = confluent_kafka
        self.conf = {"bootstrap.servers": bootstrap}

    def produce(self, topic, codec):
        failed = []

        def report(err, _):
            if err is not None:
                failed.append(err)

        conf = {**self.conf, "enable.idempotence": True, "compression.type": codec, "linger.ms": 5}
        p = self.lib.Producer(conf)
        for key, value, headers, timestamp in read_records():
            extra = {"timestamp": timestamp} if timestamp else {}
            p.produce(topic, value=value, key=key, headers=headers, partition=0, on_delivery=report, **extra)
            p.poll(0)
        left = p.flush(TIMEOUT)
        if left or failed:
            sys.exit(f"{left} records not delivered, errors: {failed[:3]}")

    def consumer(self):
        conf = {**self.conf, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error"}
        return self.lib.Consumer(conf)

    def consume(self, wanted):
        c = self.consumer()
        c.assign([self.lib.TopicPartition(w["topic"], 0, 0) for w in wanted])
        left = sum(w["count"] for w in wanted)
        while left:
            m = c.poll(TIMEOUT)
            if m is None:
                sys.exit(f"{left} records missing")
            if m.error():
                sys.exit(str(m.error()))
            print_record(m.topic(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())
            left -= 1
        c.close()

    def group(self, group, topic, n):
        c = self.lib.Consumer({**self.conf, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"})
        c.subscribe([topic])
        for _ in range(int(n)):
            m = c.poll(TIMEOUT)
            if m is None or m.error():
                sys.exit("no record" if m is None else str(m.error()))
            print(m.value().decode())
        c.commit(asynchronous=False)
        c.close()

    def offset(self, topic, millis):
        c = self.consumer()
        print(c.offsets_for_times([self.lib.TopicPartition(topic, 0, millis)], timeout=TIMEOUT)[0].offset)
        c.close()

    def member(self, topic, group, protocol):
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        conf = {**self.conf, "group.id": group, "group.protocol": protocol, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200}
        if protocol == "classic":
            conf["partition.assignment.strategy"] = "cooperative-sticky"
            conf["heartbeat.interval.ms"] = 500
        c = self.lib.Consumer(conf)
        c.subscribe([topic])
        while not ended.is_set():
            m = c.poll(0.1)
            if m is None:
                continue
            if m.error():
                print(m.error(), file=sys.stderr)
                if m.error().fatal():
                    sys.exit(1)
                continue
            print(m.value().decode(), flush=True)
        c.close()

    def create(self, topic):
        from confluent_kafka.admin import AdminClient, NewTopic

        adm = AdminClient(self.conf)
        try:
            adm.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(TIMEOUT)
            print("ok")
        except self.lib.KafkaException as e:
            print(e.args[0].name())

    def send(self, topic, size):
        result = []
        p = self.lib.Producer({**self.conf, "message.max.bytes": 20_000_000, "message.timeout.ms": 20_000})
        p.produce(topic, value=b"x" * size, partition=0, on_delivery=lambda err, _: result.append(err))
        p.flush(TIMEOUT)
        print("ok" if result[0] is None else result[0].name())


class KafkaPython:
    def __init__(self, bootstrap):
        import kafka
        import kafka.errors

        self.lib = kafka
        self.conf = {"bootstrap_servers": bootstrap}

    def produce(self, topic, codec):
        p = self.lib.KafkaProducer(**self.conf, compression_type=None if codec == "none" else codec, linger_ms=5)
        futures = []
        for key, value, headers, timestamp in read_records():
            extra = {"timestamp_ms": timestamp} if timestamp else {}
            futures.append(p.send(topic, value=value, key=key, headers=headers, partition=0, **extra))
        p.flush(TIMEOUT)
        for f in futures:
            f.get(TIMEOUT)
        p.close()

    def consumer(self):
        return self.lib.KafkaConsumer(**self.conf, enable_auto_commit=False, consumer_timeout_ms=int(TIMEOUT * 1000), fetch_max_wait_ms=200)

    def consume(self, wanted):
        c = self.consumer()
        parts = [self.lib.TopicPartition(w["topic"], 0) for w in wanted]
        c.assign(parts)
        c.seek_to_beginning(*parts)
        left = sum(w["count"] for w in wanted)
        for m in c:
            print_record(m.topic, m.offset, m.timestamp, m.key, m.value, m.headers)
            left -= 1
            if left == 0:
                break
        if left:
            sys.exit(f"{left} records missing")
        c.close()

    def group(self, group, topic, n):
        c = self.lib.KafkaConsumer(
            topic,
            **self.conf,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            consumer_timeout_ms=int(TIMEOUT * 1000),
            fetch_max_wait_ms=200,
        )
        left = int(n)
        for m in c:
            print(m.value.decode())
            left -= 1
            if left == 0:
                break
        if left:
            sys.exit(f"{left} records missing")
        c.commit()
        c.close()

    def offset(self, topic, millis):
        c = self.consumer()
        part = self.lib.TopicPartition(topic, 0)
        print(c.offsets_for_times({part: millis})[part].offset)
        c.close()

    def create(self, topic):
        from kafka.admin import KafkaAdminClient, NewTopic

        adm = KafkaAdminClient(**self.conf)
        try:
            adm.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
            print("ok")
        except self.lib.errors.KafkaError as e:
            print(type(e).__name__)
        adm.close()

    def send(self, topic, size):
        p = self.lib.KafkaProducer(**self.conf, max_request_size=20_000_000, request_timeout_ms=20_000)
        try:
            p.send(topic, value=b"x" * size, partition=0).get(TIMEOUT)
            print("ok")
        except self.lib.errors.KafkaError as e:
            print(type(e).__name__)
        p.close()


def main():
    library, action, bootstrap, *args = sys.argv[1:]
    client = {"confluent-kafka": Confluent, "kafka-python": KafkaPython}[library](bootstrap)
    if action == "produce":
        client.produce(*args)
    elif action == "consume":
        client.consume(json.loads(args[0]))
    elif action in ("create", "group", "member"):
        getattr(client, action)(*args)
    else:
        getattr(client, action)(args[0], int(args[1]))


if __name__ == "__main__":
    main()
