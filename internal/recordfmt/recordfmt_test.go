package recordfmt

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stelemq/stele/protocol/record"
)

func TestJSON_NothingIsLost(t *testing.T) {
	for name, r := range map[string]*Record{
		"plain":    {Topic: "t", Partition: 3, Timestamp: time.UnixMilli(5), Key: []byte("k"), Value: []byte("v")},
		"null":     {Topic: "t", Timestamp: time.UnixMilli(5)},
		"empty":    {Topic: "t", Timestamp: time.UnixMilli(5), Key: []byte{}, Value: []byte{}},
		"binary":   {Topic: "t", Timestamp: time.UnixMilli(5), Key: []byte{0xff, 0}, Value: []byte{0x80}},
		"controls": {Topic: "t", Timestamp: time.UnixMilli(5), Value: []byte("a\x00\n\"\\\u2028<é")},
		"headers": {Topic: "t", Timestamp: time.UnixMilli(5), Headers: []record.Header{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}}, {Key: "b", Value: []byte{0xfe}},
		}},
	} {
		line := AppendJSON(nil, r)
		if strings.Count(string(line), "\n") != 1 {
			t.Errorf("%s: not one line: %s", name, line)
		}
		got, err := ParseJSON(line)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: %s\ngot  %+v\nwant %+v, %v", name, line, got, r, err)
		}
	}
}

func TestParseJSON_Headers(t *testing.T) {
	r, err := ParseJSON([]byte(`{"value":"v","headers":{"b":"1","a":null},"timestamp":"2026-01-02T03:04:05Z"}`))
	want := []record.Header{{Key: "b", Value: []byte("1")}, {Key: "a"}}
	if err != nil || !reflect.DeepEqual(r.Headers, want) || r.Partition != -1 || r.Timestamp.Unix() != 1767323045 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"", "[]", `{"value":1}`, `{"timestamp":"x"}`, `{"headers":[1]}`, `{"headers":{"a":1}}`} {
		if _, err := ParseJSON([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestReader(t *testing.T) {
	for _, row := range []struct {
		layout, in string
		want       []string // key=value@partition
		err        string
	}{
		{`%v\n`, "a\nb", []string{"=a@-1", "=b@-1"}, ""},
		{`%k\t%v\n`, "k\tv\tw\n\t\n", []string{"k=v\tw@-1", "=@-1"}, ""},
		{`%p:%k=%v--`, "1:k=v-w--2:l=--", []string{"k=v-w@1", "l=@2"}, ""},
		{`<%k|%v>\n`, "<k|v>\n", []string{"k=v@-1"}, ""},
		{`<%v>\n`, "x", nil, `record 1: 'x' where the format has '<'`},
		{`%k\t%v\n`, "k", nil, "record 1: the input ends within it"},
		{`%p %v\n`, "one v\n", nil, `record 1: %p: "one" is not a number`},
		{`%v\n`, strings.Repeat("x", 100) + "\n", nil, "record 1: record too long: more than 50 bytes"},
	} {
		x, err := NewReader(strings.NewReader(row.in), row.layout, 50)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		var r Record
		for err == nil {
			if err = x.Next(&r); err == nil {
				got = append(got, string(r.Key)+"="+string(r.Value)+"@"+map[int32]string{-1: "-1", 1: "1", 2: "2"}[r.Partition])
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if row.err == "" && (err != nil || !reflect.DeepEqual(got, row.want)) || row.err != "" && (err == nil || err.Error() != row.err) {
			t.Errorf("%s of %.20q: %q, %v", row.layout, row.in, got, err)
		}
	}
	for _, bad := range []string{"", "text", "%k%v\n", "%v", "%o\n", `%v{hex}\n`, `%T\n`, "%"} {
		if _, err := NewReader(nil, bad, 1); err == nil {
			t.Errorf("layout %q is taken", bad)
		}
	}
}

func TestParseLayout_Errors(t *testing.T) {
	for _, bad := range []string{"%", "%z", "%v{", "%v{zip}", "%T{x}", "%d{strftime[%Q]}", "%d{strftime[%]}", `\q`, `\x`, `\xzz`, `\`, "%h{%t}"} {
		if _, err := ParseLayout(bad); err == nil {
			t.Errorf("layout %q is taken", bad)
		}
	}
}

func FuzzLayout(f *testing.F) {
	for _, s := range []string{`%v\n`, `%h{ %k=%v }`, `%d{go[2006]}`, `\x41%%`, "%k{hex}%V", "%T"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		l, err := ParseLayout(s)
		if err != nil {
			return
		}
		r := &Record{Key: []byte("k"), Value: []byte{0xff}, Headers: []record.Header{{Key: "a"}}}
		l.TerminalSafe().Append(nil, r, Surroundings{})
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"key":"k","value":null,"headers":{"a":"b"},"timestamp":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseJSON(b)
		if err != nil {
			return
		}
		again, err := ParseJSON(AppendJSON(nil, r))
		if err != nil || len(again.Headers) != len(r.Headers) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}
