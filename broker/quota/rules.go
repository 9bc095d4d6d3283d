package quota

// Kind is what a quota bounds.
type Kind int

// Kinds of quotas.
const (
	// Produce bounds the bytes of requests that produce, per second.
	Produce Kind = iota
	// Fetch bounds the bytes of answers to consumers, per second.
	Fetch
	// Request bounds the time that requests take, in hundredths of one processor.
	Request

	// Mutation bounds the partitions that are created and deleted, per second (KIP-599).
	Mutation
	// Connection bounds the connections that an address makes, per second (KIP-612). Its rules are for addresses.
	Connection

	kinds = 5
)

// Key is Kafka's name of the kind.
func (k Kind) Key() string {
	return [kinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}[k]
}

// Anonymous is the user of a connection that has not said who it is.
const Anonymous = "ANONYMOUS"

// Entity is whom a rule is for. A part that is not Set does not matter; one that is Default stands for all that have no
// rule of their own.
type Entity struct {
	User, ClientID Part
}

// Part of an entity.
type Part struct {
	Set, Default bool
	Name         string
}

// Named is the part of one user or client id, Default the part of all others.
func Named(name string) Part { return Part{Set: true, Name: name} }

// Others is the part that stands for all that have no rule of their own.
func Others() Part { return Part{Set: true, Default: true} }

// Table is what is allowed, to whom. Immutable once made.
type Table struct {
	rules [kinds]map[Entity]float64
}

// NewTable makes a table of rules by kind.
func NewTable(rules map[Kind]map[Entity]float64) *Table {
	t := &Table{}
	for kind, of := range rules {
		t.rules[kind] = of
	}
	return t
}

// Empty reports whether nobody is bounded.
func (t *Table) Empty() bool {
	if t == nil {
		return true
	}
	for _, rules := range t.rules {
		if len(rules) > 0 {
			return false
		}
	}
	return true
}

// connections is the rule that holds for an address.
func (t *Table) connections(address string) (most float64, ok bool) {
	rules := t.rules[Connection]
	if len(rules) == 0 {
		return 0, false
	}
	if most, ok = rules[Entity{User: Named(address)}]; !ok {
		most, ok = rules[Entity{User: Others()}]
	}
	return most, ok
}

// subject is who shares one meter: a rule for a user counts all its clients together, one for a client id all its users.
type subject struct{ user, clientID string }

// limit is the rule that holds for a client, in Kafka's order of precedence, and who shares it; ok is false where there is
// none.
func (t *Table) limit(k Kind, user, clientID string) (most float64, who subject, ok bool) {
	rules := t.rules[k]
	if len(rules) == 0 {
		return 0, subject{}, false
	}
	for _, e := range [...]Entity{
		{Named(user), Named(clientID)},
		{Named(user), Others()},
		{Named(user), Part{}},
		{Others(), Named(clientID)},
		{Others(), Others()},
		{Others(), Part{}},
		{Part{}, Named(clientID)},
		{Part{}, Others()},
	} {
		if most, ok = rules[e]; !ok {
			continue
		}
		if e.User.Set {
			who.user = user
		}
		if e.ClientID.Set {
			who.clientID = clientID
		}
		return most, who, true
	}
	return 0, subject{}, false
}
