// Package parallel spreads many short pieces of work over the processors.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// worthwhile is how many pieces another goroutine is started for.
const worthwhile = 32

// Do calls f with each number from 0 to below n, in any order and several at once.
func Do(n int, f func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	var helpers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0)-1, n/worthwhile) {
		helpers.Go(work)
	}
	work()
	helpers.Wait()
}
