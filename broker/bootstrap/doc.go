// Package bootstrap finds out who a node is before its host is opened: it founds a cluster with the nodes of
// cluster.peers, joins one that exists, or goes on as what the data directory says; and it answers the nodes that
// ask the same of this one.
//
// # Founding
//
// The founders are the nodes of cluster.peers. When a majority of them has an empty directory and nobody knows
// of a cluster, the one of them with the lowest id proposes the [Founding]: a new cluster id, the founders, and the directories
// that take part. It holds once a majority of the founders has written down that it accepts it (promise.go), so two majorities
// never found two clusters, whoever comes late or goes on for another. Whoever asks a node that has carried it out, by the
// call "hello", gets it; a node that is named in it by its directory takes up the replica of the metadata that is its founder's.
// Any other node, late or with a new disk, joins. A directory is never twice the same replica: a vote that was given and
// forgotten would let two leaders be elected.
//
// Each step is on disk before anybody hears of it, so a crash repeats it with the same outcome.
//
// # Joining
//
// The call "join", to any member, is passed on to the controller, which takes the node into the metadata and adds its
// replica as a learner ([Member]). It is idempotent by the directory's id.
//
// The package starts nothing that outlives its calls; what it registers at the transport lives as long as that.
package bootstrap
