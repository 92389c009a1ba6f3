//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// ready is on Claude's screen when it waits for a prompt.
const ready = "shift+tab to cycle"

func TestScreen(t *testing.T) {
	t.Parallel()
	p := newProject(t, "screen")
	first := p.terminal("first", 100, 30, "claude-vm-ctl run --set Clipboard=yes .")
	first.shows(ready)
	copied := p.terminal("copy", 100, 30, "claude-vm-ctl shell . -- "+setClipboard)
	p.eventually("the clipboard has the text", func() bool {
		return p.command("tmux", "-L", copied.name, "show-buffer").stdout == "from the guest"
	})
	if got := first.widest(); got < 95 || got > 100 {
		t.Errorf("Claude uses %d columns of a terminal with 100", got)
	}
	first.resize(70, 24)
	p.eventually("Claude fills the new size", func() bool { w := first.widest(); return w >= 65 && w <= 70 })

	// Ctrl-Z must not suspend Claude, as there is no shell to resume it.
	first.keys("C-z")
	first.keys("-l", "still")
	first.shows("still")
	first.keys("C-u")

	// Detach with the keys. Claude continues. Attach from another terminal.
	first.keys("-l", "say: nothing yet")
	first.shows("say: nothing yet")
	first.keys("C-]", "C-]", "C-]")
	first.shows("status=0")
	first.shows("To attach again")
	if got := p.property("ActiveState"); got != "active" {
		t.Fatalf("after detaching, ActiveState=%s", got)
	}
	second := p.terminal("second", 70, 24, "claude-vm-ctl attach .")
	second.shows("say: nothing yet")

	// Close the terminal. Attach with another size. Two clients see the same screen.
	second.close()
	third := p.terminal("third", 90, 28, "claude-vm-ctl run .")
	third.shows("say: nothing yet")
	p.eventually("Claude fills the third terminal", func() bool { return third.widest() >= 85 })
	fourth := p.terminal("fourth", 90, 28, "claude-vm-ctl attach .")
	fourth.shows("say: nothing yet")
	third.keys("-l", " but this")
	for _, e := range []*emulator{third, fourth} {
		e.shows("say: nothing yet but this")
	}
	third.keys("Enter")
	p.eventually("the fourth terminal shows the answer below the prompt", func() bool {
		return strings.Count(fourth.screen(), "nothing yet but this") == 2
	})

	p.ctl("run", ".", "--", "--version").fails(1, "a VM is already running on "+p.dir+"; its options and Claude's arguments cannot be changed", "claude-vm-ctl attach")
	for _, verb := range []string{"run", "attach"} {
		p.ctl(verb).fails(1, "a VM is already running on "+p.dir+"; attaching to it needs a terminal", "claude-vm-ctl attach")
	}

	// When Claude exits, the VM stops and all clients exit.
	third.keys("-l", "/exit")
	fourth.shows("/exit")
	third.keys("Enter")
	third.shows("status=0")
	fourth.shows("status=0")
	p.wantGone()
}
