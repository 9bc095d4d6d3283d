package dledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/stelemq/stele/internal/vfs"
)

const bootFileName = "boot.json"

// bootFile says under which start of the machine the directory was last open, and whether it was closed. A process that is
// killed loses nothing that it has written; a machine that goes down loses what was not synced.
type bootFile struct {
	BootID string `json:"boot_id"`
	Clean  bool   `json:"clean"`
}

// machineBoot names this start of the machine; empty where that cannot be known.
func machineBoot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// lostPageCache reports whether the machine has gone down since the directory was last open, without a shutdown of the
// host before. A damaged file says yes.
func lostPageCache(fsys vfs.FS, dir, boot string) (bool, error) {
	b, err := vfs.ReadFile(fsys, dir+"/"+bootFileName)
	if notExist(err) {
		return false, nil // never open before
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", bootFileName, err)
	}
	var f bootFile
	if err := json.Unmarshal(b, &f); err != nil {
		return true, nil //nolint:nilerr // it does not say that all is well
	}
	return !f.Clean && (f.BootID != boot || boot == ""), nil
}

func writeBootFile(fsys vfs.FS, dir string, f bootFile) error {
	b, err := json.Marshal(&f)
	if err != nil {
		return errors.Join(ErrCorrupt, err)
	}
	return vfs.WriteFileAtomic(fsys, dir, bootFileName, append(b, '\n'))
}
