package config

import "fmt"

// ImportProperties turns a Kafka server.properties into the YAML that [Load] reads, and says of each line that does not
// appear in it why, as problems: those that keep the result from being used are no warnings.
func ImportProperties(name string, text []byte) (yaml string, notes []Problem) {
	s := parseSchema()
	entries, notes := parseProperties(name, text)
	var lines []Line
	at := map[string]int{}
	for _, e := range entries {
		where := fmt.Sprintf("%s:%d", name, e.line)
		f, unit, ok := s.lookup(e.key)
		if !ok {
			if o, known := s.other(e.key); known {
				notes = append(notes, o.problem(where, e.key))
			} else {
				notes = append(notes, unknownKey(where, e.key, s.spellings()))
			}
			continue
		}
		value, err := f.parse(e.value, unit)
		if err != nil {
			notes = append(notes, Problem{Where: where, Key: e.key, Text: err.Error()})
			continue
		}
		line := Line{Key: f.Key, Value: f.Text(value), Origin: where}
		if n, twice := at[f.Key]; twice { // a key and its alias: Kafka takes the more exact one, which comes first there
			notes = append(notes, Problem{Where: where, Key: e.key, Text: "is set twice, see " + lines[n].Origin, Warning: true})
			continue
		}
		at[f.Key] = len(lines)
		lines = append(lines, line)
	}
	return YAML(lines, false), notes
}
