package protocol_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/protocol"
)

// rows are the lines of a table in testdata, by columns. They were printed by Kafka 4.3's own classes (Errors, ApiKeys).
func rows(t *testing.T, name string) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var all [][]string
	for s := bufio.NewScanner(f); s.Scan(); {
		all = append(all, strings.Split(s.Text(), "\t"))
	}
	return all
}

func number(t *testing.T, s string) int16 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return int16(n)
}

func TestAPIs_AscendAndAreFound(t *testing.T) {
	last := int16(-1)
	for _, a := range protocol.APIs() {
		if a.Key <= last || a.Min < 0 || a.Max < a.Min || a.ServedMin < a.Min || a.ServedMin > a.Max || a.Name == "" {
			t.Errorf("bad row %+v after key %d", a, last)
		}
		last = a.Key
		if got, ok := protocol.Lookup(a.Key); !ok || got != a {
			t.Errorf("Lookup(%d) = %+v, %v", a.Key, got, ok)
		}
	}
	for _, key := range []int16{-1, 4, 7, 52, 94, 32767} {
		if a, ok := protocol.Lookup(key); ok {
			t.Errorf("Lookup(%d) = %+v", key, a)
		}
	}
}

func TestAPIs_AgreeWithKmsg(t *testing.T) {
	for _, a := range protocol.APIs() {
		req := kmsg.RequestForKey(a.Key)
		if req == nil || req.MaxVersion() < a.Max {
			t.Errorf("%s: kmsg does not know v%d", a.Name, a.Max)
			continue
		}
		for v := a.Min; v <= a.Max; v++ {
			req.SetVersion(v)
			if req.IsFlexible() != a.Flexible(v) {
				t.Errorf("%s v%d: flexible %v, kmsg says %v", a.Name, v, a.Flexible(v), req.IsFlexible())
			}
		}
	}
}

func TestAPIs_AgreeWithKafka(t *testing.T) {
	known := map[int16]bool{}
	for _, row := range rows(t, "kafka-apis.tsv") {
		key, lo, hi, flex := number(t, row[0]), number(t, row[2]), number(t, row[3]), number(t, row[4])
		known[key] = true
		a, ok := protocol.Lookup(key)
		if !ok {
			continue // between Kafka's own brokers and controllers
		}
		if a.Key == protocol.KeyInitProducerId && hi == 6 {
			hi = 5 // v6 is not stable: Kafka does not advertise it (KIP-939)
		}
		if a.Name != row[1] || a.Min > lo || a.Max < hi {
			t.Errorf("%s %d-%d, Kafka has %s %d-%d", a.Name, a.Min, a.Max, row[1], lo, hi)
		}
		for v := lo; v <= hi; v++ {
			if want := flex >= 0 && v >= flex; a.Flexible(v) != want {
				t.Errorf("%s v%d: flexible %v, Kafka says %v", a.Name, v, a.Flexible(v), want)
			}
		}
	}
	for _, a := range protocol.APIs() {
		if !known[a.Key] && a.Key != protocol.KeyStreamsGroupTopologyDescriptionUpdate { // new in 4.4
			t.Errorf("Kafka has no %s", a.Name)
		}
	}
}

func TestAPIs_AdvertiseWhatOldClientsLookFor(t *testing.T) {
	// Versions that clients in use require in the range, or send: librdkafka up to 2.11 (Produce 0-7, Fetch 4), kafka-go.
	for key, versions := range map[int16][]int16{
		protocol.KeyProduce: {0, 1, 2, 3, 7, 13}, protocol.KeyFetch: {4, 10, 12, 16, 18}, protocol.KeyListOffsets: {0, 1, 5, 10, 11}, protocol.KeyMetadata: {0, 1, 6, 8, 13},
		protocol.KeyApiVersions: {0, 2, 3, 4, 5}, protocol.KeyCreateTopics: {0, 1, 2, 7}, protocol.KeyDeleteTopics: {0, 1, 6}, protocol.KeyInitProducerId: {0, 4, 5},
	} {
		a, _ := protocol.Lookup(key)
		for _, v := range versions {
			if !a.Served || !a.Advertises(v) {
				t.Errorf("%s v%d is not advertised", a.Name, v)
			}
		}
	}
	produce, _ := protocol.Lookup(protocol.KeyProduce)
	if produce.Serves(2) || !produce.Serves(3) {
		t.Error("Produce is served from v3 on")
	}
}

func TestAdvertisedKeys_AreTheServed(t *testing.T) {
	keys := protocol.AdvertisedKeys()
	for _, k := range keys {
		if a, ok := protocol.Lookup(k.ApiKey); !ok || !a.Served || a.Min != k.MinVersion || a.Max != k.MaxVersion {
			t.Errorf("advertised %+v, table %+v", k, a)
		}
	}
	n := 0
	for _, a := range protocol.APIs() {
		if a.Served {
			n++
		}
	}
	if len(keys) != n || n < 13 {
		t.Errorf("%d advertised of %d served", len(keys), n)
	}
}
