package protocol

// shapes are the requests' fields in the order in which they stand on the wire, by key. A test compares them with what kmsg
// writes in every version. They stand in one file for each matter, shapes_<matter>.go.
//
//nolint:gochecknoglobals // constant table
var shapes = together(
	dataShapes[:], groupShapes[:], txnShapes[:], shareShapes[:], streamsShapes[:], adminShapes[:], securityShapes[:],
)

// together lays tables by key over each other; no two have the same key.
func together(tables ...[][]field) [][]field {
	var out [][]field
	for _, t := range tables {
		for key, shape := range t {
			for len(out) <= key {
				out = append(out, nil)
			}
			if shape != nil {
				out[key] = shape
			}
		}
	}
	return out
}
