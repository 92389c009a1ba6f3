//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSession has a session of many turns on a terminal, with the key added by the gateway: text, files,
// commands with much output, which each later request contains, and retries. With $CLAUDE_VM_TEST_SOAK,
// for example 1h, it lasts that long.
func TestSession(t *testing.T) {
	t.Parallel()
	duration, err := time.ParseDuration(os.Getenv("CLAUDE_VM_TEST_SOAK"))
	if err != nil { // not set, or for another test
		duration = 0
	}
	p := newProject(t, "session")
	p.vmFile("[Claude]\nSkipPermissions=yes\nEnvironment=ANTHROPIC_BASE_URL=https://api.anthropic.com\n[Network]\nMode=allow\nExtraCA=/srv/ca.pem\n")
	e := p.terminal("run", 100, 30, "claude-vm-ctl run .")
	e.shows(ready)
	turn := func(prompt string) {
		e.keys("-l", prompt)
		e.shows(prompt)
		e.keys("Enter")
	}
	answered := func(text string) {
		t.Helper()
		p.eventually("the screen has the answer "+text, func() bool { return strings.Count(e.screen(), text) >= 2 })
	}
	start, turns := time.Now(), 0
	for i := 0; i == 0 || time.Since(start) < duration; i++ {
		text := fmt.Sprintf("turn %d of the session", i)
		turn("say: " + text)
		answered(text)
		file := fmt.Sprintf("file-%d", i)
		turn("create " + file + ": " + text)
		p.eventually("Claude creates a file", func() bool {
			got, err := os.ReadFile(filepath.Join(p.dir, file))
			return err == nil && string(got) == text
		})
		turn(fmt.Sprintf("run: seq 20000 | tee numbers-%d", i))
		p.eventually("Claude runs a command", func() bool {
			info, err := os.Stat(filepath.Join(p.dir, fmt.Sprintf("numbers-%d", i)))
			return err == nil && info.Size() == 108894
		})
		again := fmt.Sprintf("retried %d", i)
		turn("retry: " + again)
		answered(again)
		turns += 4
	}
	t.Logf("%d turns in %v", turns, time.Since(start).Round(time.Second))
	e.exit()
	p.wantGone()
}
