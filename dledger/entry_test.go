package dledger

import "testing"

func TestFence(t *testing.T) {
	type step struct {
		term    Term
		client  uint64
		accepts bool
	}
	for name, steps := range map[string][]step{
		"in order": {
			{2, clientID(2, 1, false), true},
			{2, clientID(2, 2, true), true},
			{2, clientID(2, 3, false), true},
		},
		"a term begins with sequence one": {{2, clientID(2, 2, false), false}, {2, clientID(2, 1, false), true}},
		"validated by an older leader":    {{3, clientID(2, 1, false), false}, {3, clientID(3, 1, false), true}},
		"behind a dropped proposal": {
			{2, clientID(2, 1, false), true},
			{2, clientID(2, 3, false), false},
			{2, clientID(2, 2, false), true},
			{2, clientID(2, 3, false), true},
		},
		"proposed twice": {{2, clientID(2, 1, false), true}, {2, clientID(2, 1, false), false}, {2, clientID(2, 2, false), true}},
		"a new term starts anew": {
			{2, clientID(2, 1, false), true},
			{3, clientID(3, 2, false), false},
			{3, clientID(3, 1, false), true},
		},
		"not a proposal of ours": {{2, 0, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var f fence
			for i, s := range steps {
				ok, next := f.accepts(s.term, s.client)
				if ok != s.accepts {
					t.Fatalf("step %d: accepts = %v", i, ok)
				}
				f = next
			}
		})
	}
}

func TestFence_SequenceWraps(t *testing.T) {
	f := fence{Term: 2, Sequence: sequenceMask}
	if ok, _ := f.accepts(2, clientID(2, 0, false)); ok {
		t.Fatal("sequence 0 is none")
	}
	if ok, f := f.accepts(2, clientID(2, 1, false)); !ok || f.Sequence != 1 {
		t.Fatalf("after the wrap: %v %+v", ok, f)
	}
}
