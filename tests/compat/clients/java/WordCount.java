import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Properties;
import java.util.Scanner;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Counts words: WordCount BOOTSTRAP APPLICATION_ID IN OUT STATE_DIR.
 *
 * The key of a line of IN is its number, its value words. OUT gets for each word "lines/times": in how many different lines it
 * stands, which is right however often a line is processed, and how often it was counted, which is at least that. Both are kept
 * in one store with a compacted changelog, behind a repartition topic.
 *
 * Lines on stdin: "restart" closes it, forgets the local state, and starts it again from the changelog. It ends when stdin does.
 */
public class WordCount {
    static Topology topology(String in, String out) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(in, Consumed.with(Serdes.String(), Serdes.String()))
            .flatMap((line, words) -> Arrays.stream(words.split(" ")).distinct().map(w -> KeyValue.pair(w, line)).toList())
            .groupByKey(Grouped.with("words", Serdes.String(), Serdes.String()))
            .aggregate(() -> new byte[4], WordCount::add,
                Materialized.<String, byte[], KeyValueStore<Bytes, byte[]>>as("counts").withKeySerde(Serdes.String()).withValueSerde(Serdes.ByteArray()))
            .toStream()
            .mapValues(state -> BitSet.valueOf(Arrays.copyOfRange(state, 4, state.length)).cardinality() + "/" + times(state))
            .to(out, Produced.with(Serdes.String(), Serdes.String()));
        return builder.build();
    }

    static int times(byte[] state) {
        return (state[0] & 255) << 24 | (state[1] & 255) << 16 | (state[2] & 255) << 8 | state[3] & 255;
    }

    static byte[] add(String word, String line, byte[] state) {
        BitSet lines = BitSet.valueOf(Arrays.copyOfRange(state, 4, state.length));
        lines.set(Integer.parseInt(line));
        byte[] bits = lines.toByteArray();
        byte[] next = new byte[4 + bits.length];
        int times = times(state) + 1;
        for (int i = 0; i < 4; i++) {
            next[i] = (byte) (times >> (24 - 8 * i));
        }
        System.arraycopy(bits, 0, next, 4, bits.length);
        return next;
    }

    static KafkaStreams start(String[] args) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, args[4]);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        p.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, 400);
        p.put(StreamsConfig.topicPrefix("segment.bytes"), 1 << 20);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 500);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 10_000);
        KafkaStreams streams = new KafkaStreams(topology(args[2], args[3]), p);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.cleanUp();
        streams.start();
        return streams;
    }

    /** Leaves the group, so that the next one need not wait until this one's session is over. */
    static void close(KafkaStreams streams) {
        if (!streams.close(CloseOptions.groupMembershipOperation(GroupMembershipOperation.LEAVE_GROUP).withTimeout(Duration.ofSeconds(30)))) {
            System.err.println("not closed within 30 s");
            Runtime.getRuntime().halt(1);
        }
    }

    public static void main(String[] args) {
        KafkaStreams streams = start(args);
        for (Scanner in = new Scanner(System.in, StandardCharsets.UTF_8); in.hasNextLine();) {
            if (in.nextLine().equals("restart")) {
                close(streams);
                streams = start(args);
            }
        }
        close(streams);
    }
}
