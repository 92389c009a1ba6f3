//go:build soak

package gateway

import (
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestSoak makes 200 connections per second for the time in $CLAUDE_VM_TEST_SOAK, for example
// 1h, and checks that memory and goroutines do not grow. The guest is in the same process.
func TestSoak(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv("CLAUDE_VM_TEST_SOAK"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	w.host("example.com", "93.184.216.34")
	w.echo("93.184.216.34:7")
	const perSecond = 200
	measure := func() (heap uint64, goroutines int) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	var failures, done int
	var mu sync.Mutex
	var heap uint64
	var goroutines int
	start := time.Now()
	slots := make(chan struct{}, maxConnections/2)
	for tick := time.NewTicker(time.Second / perSecond); time.Since(start) < duration; <-tick.C {
		if goroutines == 0 && time.Since(start) > duration/10 {
			heap, goroutines = measure()
			t.Logf("after %v: %d KiB, %d goroutines, %d connections", time.Since(start).Round(time.Second), heap>>10, goroutines, done)
		}
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			c, err := w.guest.Dial(t.Context(), "tcp", netip.AddrPortFrom(w.address("example.com"), 7))
			ok := err == nil && answers(c)
			if err == nil {
				c.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			if !ok {
				failures++
			}
		}()
	}
	time.Sleep(time.Second)
	heapAfter, goroutinesAfter := measure()
	t.Logf("after %v: %d KiB, %d goroutines, %d connections, %d failed", duration, heapAfter>>10, goroutinesAfter, done, failures)
	if failures > 0 {
		t.Errorf("%d of %d connections failed", failures, done)
	}
	if heapAfter > heap+heap/4+(1<<20) || goroutinesAfter > goroutines+100 {
		t.Errorf("memory grew from %d to %d KiB, goroutines from %d to %d", heap>>10, heapAfter>>10, goroutines, goroutinesAfter)
	}
}
