package quota

import (
	"strconv"
	"testing"
	"time"
)

func at(seconds float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(seconds * 1e9)) }

func TestTable_Precedence(t *testing.T) {
	u, c := Named("u"), Named("c")
	all := []Entity{{u, c}, {u, Others()}, {u, Part{}}, {Others(), c}, {Others(), Others()}, {Others(), Part{}}, {Part{}, c}, {Part{}, Others()}}
	rules := map[Entity]float64{}
	for i := len(all) - 1; i >= 0; i-- {
		rules[all[i]] = float64(i)
		most, who, ok := NewTable(map[Kind]map[Entity]float64{Produce: rules}).limit(Produce, "u", "c")
		if !ok || most != float64(i) {
			t.Errorf("%+v: %v %v", all[i], most, ok)
		}
		if (who.user != "") != all[i].User.Set || (who.clientID != "") != all[i].ClientID.Set {
			t.Errorf("%+v is shared by %+v", all[i], who)
		}
	}
	table := NewTable(map[Kind]map[Entity]float64{Produce: {{u, Part{}}: 1}})
	if _, _, ok := table.limit(Produce, "v", "c"); ok {
		t.Error("another user is bounded")
	}
	if _, _, ok := table.limit(Fetch, "u", "c"); ok {
		t.Error("another kind is bounded")
	}
}

// Whoever sends at twice the rate and waits as told ends up at the rate.
func TestMeter_HoldsTheRate(t *testing.T) {
	for _, limit := range []float64{1000, 1e6} {
		m := NewMeter()
		m.SetTable(NewTable(map[Kind]map[Entity]float64{Produce: {{Part{}, Named("c")}: limit}}))
		now, sent := 0.0, 0.0
		for now < 120 {
			chunk := limit / 10
			sent += chunk
			now += 0.05 // twice the rate
			now += m.Use(Produce, Anonymous, "c", chunk, at(now)).Seconds()
		}
		if got := sent / now; got < 0.85*limit || got > 1.15*limit {
			t.Errorf("%.0f per second, want %.0f", got, limit)
		}
	}
}

func TestMeter_BelowTheRateNobodyWaits(t *testing.T) {
	m := NewMeter()
	m.SetTable(NewTable(map[Kind]map[Entity]float64{Fetch: {{Named("u"), Part{}}: 1000}, Request: {{Others(), Others()}: 50}}))
	for i := range 1000 {
		if w := m.Use(Fetch, "u", strconv.Itoa(i%7), 90, at(float64(i)/10)); w != 0 {
			t.Fatalf("after %d: %s", i, w)
		}
		if w := m.Use(Request, "u", "c", 0.04, at(float64(i)/10)); w != 0 {
			t.Fatalf("after %d: %s for requests", i, w)
		}
	}
}

// The clients of a user share the user's quota; a burst is spread over the windows.
func TestMeter_SharedAndBounded(t *testing.T) {
	m := NewMeter()
	m.SetTable(NewTable(map[Kind]map[Entity]float64{Produce: {{Named("u"), Part{}}: 1000}, Request: {{Part{}, Others()}: 1}}))
	if w := m.Use(Produce, "u", "a", 8000, at(0)); w != 0 {
		t.Errorf("a burst of less than the windows allow waits %s", w)
	}
	if w := m.Use(Produce, "u", "b", 8000, at(0.1)); w < 5*time.Second || w > 7*time.Second {
		t.Errorf("16 seconds' worth at once waits %s", w)
	}
	m.Return(Produce, "u", "b", 8000, at(0.2))
	if w := m.Use(Produce, "u", "c", 0, at(0.2)); w != 0 {
		t.Errorf("after it was taken back: %s", w)
	}
	if w := m.Use(Produce, "u", "c", 1e12, at(0.3)); w != ThrottleMax {
		t.Errorf("%s, want the longest", w)
	}
	if w := m.Use(Request, "u", "c", 100, at(0.3)); w != requestThrottleMax {
		t.Errorf("%s, want the longest of requests", w)
	}
	if w := m.Use(Produce, "u", "c", 1, at(100)); w != 0 {
		t.Errorf("much later: %s", w)
	}
}

func TestMeter_NobodyIsBounded(t *testing.T) {
	m := NewMeter()
	if w := m.Use(Produce, "u", "c", 1e15, at(0)); w != 0 || len(m.rates) != 0 {
		t.Errorf("%s, %d counted", w, len(m.rates))
	}
	m.SetTable(NewTable(map[Kind]map[Entity]float64{Produce: {{Part{}, Named("c")}: 0}}))
	if w := m.Use(Produce, "u", "c", 1, at(0)); w <= 0 {
		t.Error("a quota of nothing lets through")
	}
	m.SetTable(nil)
	if w := m.Use(Produce, "u", "c", 1e15, at(0)); w != 0 || len(m.rates) != 0 {
		t.Errorf("%s, %d counted", w, len(m.rates))
	}
}

func TestMeter_IsBounded(t *testing.T) {
	m := NewMeter()
	m.SetTable(NewTable(map[Kind]map[Entity]float64{Produce: {{Part{}, Others()}: 1}}))
	for i := range 2 * subjectsMax {
		m.Use(Produce, "u", strconv.Itoa(i), 1, at(float64(i)/1000))
	}
	if len(m.rates) > subjectsMax {
		t.Errorf("%d clients are counted", len(m.rates))
	}
}

func TestMeter_Mutations(t *testing.T) {
	m := NewMeter()
	m.SetTable(NewTable(map[Kind]map[Entity]float64{Mutation: {{User: Others()}: 2}}))
	now := time.Unix(1_700_000_000, 0)
	// A burst of eleven windows' worth, and one request may overdraw it.
	if wait, ok := m.Mutate("u", "c", 20, true, now); !ok || wait != 0 {
		t.Fatal(wait, ok)
	}
	if wait, ok := m.Mutate("u", "d", 6, true, now); !ok || wait != 0 { // 2 left, 4 owed: another client, the same user
		t.Fatal(wait, ok)
	}
	if wait, ok := m.Mutate("u", "c", 1, true, now); ok || wait != 2*time.Second {
		t.Errorf("who owes 4 of 2 a second waits for %s, %v", wait, ok)
	}
	if wait, ok := m.Mutate("u", "c", 1, false, now); !ok || wait != 2500*time.Millisecond {
		t.Errorf("an old request is carried out: %s, %v", wait, ok)
	}
	if wait, ok := m.Mutate("u", "c", 1, true, now.Add(2500*time.Millisecond)); !ok || wait != 0 {
		t.Errorf("when nothing is owed: %s, %v", wait, ok)
	}
}

func TestMeter_Connections(t *testing.T) {
	m := NewMeter()
	m.SetTable(NewTable(map[Kind]map[Entity]float64{Connection: {{User: Named("10.0.0.1")}: 1}}))
	now := time.Unix(1_700_000_000, 0)
	refused := 0
	for range 30 {
		wait := m.Connect("10.0.0.1", now)
		if wait > time.Second {
			t.Fatal(wait)
		}
		if wait > 0 {
			refused++
		}
		if m.Connect("10.0.0.2", now) != 0 {
			t.Fatal("another address is bounded")
		}
	}
	if refused != 20 {
		t.Errorf("%d of 30 refused, want what exceeds one a second over ten seconds", refused)
	}
}
