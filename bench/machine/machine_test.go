package machine

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestReadUsage_OfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc is Linux's")
	}
	pids := []int{os.Getpid()}
	before, err := ReadUsage(pids)
	if err != nil {
		t.Fatal(err)
	}
	if before.RSS < 1<<20 {
		t.Errorf("RSS is %d, less than any process has", before.RSS)
	}
	for began := time.Now(); ; {
		u, err := ReadUsage(pids)
		if err != nil {
			t.Fatal(err)
		}
		if used := u.Sub(before).CPU; used >= 50*time.Millisecond {
			if wall := time.Since(began); used > wall*time.Duration(runtime.NumCPU())+2*clockTick {
				t.Errorf("used %s within %s", used, wall)
			}
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("a busy loop used no processor time")
		}
	}
}

func TestReadUsage_OfNoProcess(t *testing.T) {
	if _, err := ReadUsage([]int{1 << 30}); err == nil {
		t.Error("a process that does not exist has a usage")
	}
}

func TestSync_IsOrdered(t *testing.T) {
	dir := t.TempDir()
	p, err := Sync(dir, 50)
	if err != nil {
		t.Fatal(err)
	}
	if p.P50 <= 0 || p.P99 < p.P50 {
		t.Errorf("probe %+v", p)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("the probe left %v (%v)", left, err)
	}
}

func TestMoved(t *testing.T) {
	a, b := Probe{P50: 100}, Probe{P50: 160}
	for _, c := range []struct {
		a, b Probe
		want float64
	}{{a, b, 1.6}, {b, a, 1.6}, {a, a, 1}, {Probe{}, a, 1}} {
		if got := Moved(c.a, c.b); got != c.want {
			t.Errorf("Moved(%v, %v) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestReadFacts(t *testing.T) {
	f := ReadFacts(t.TempDir())
	if f.CPUs < 1 || f.GoVersion == "" || f.OS == "" {
		t.Errorf("facts %+v", f)
	}
	if f.OS == "linux" && (f.Kernel == "" || f.MemoryMiB < 100 || f.FileSystem == "") {
		t.Errorf("facts %+v", f)
	}
}
