package machine

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DiskWritten is how many bytes were written to the disk that dir lies on since the machine started, by everybody; false
// where the kernel does not say. What a process "wrote" by /proc counts a whole folio of the page cache, up to megabytes,
// for each small write into it, so only the disk itself tells what a small record with its sync costs.
func DiskWritten(dir string) (int64, bool) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, false
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return 0, false
	}
	const sectorsWritten, sector = 6, 512 // Documentation/block/stat.rst
	words := strings.Fields(string(text))
	if len(words) <= sectorsWritten {
		return 0, false
	}
	n, err := strconv.ParseInt(words[sectorsWritten], 10, 64)
	return n * sector, err == nil
}
