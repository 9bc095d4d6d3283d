// Command start fills a broker's log and measures how long a start takes from exec to the first acknowledged record, after
// kill -9 and after a clean stop. The data stay in -dir.
package main
