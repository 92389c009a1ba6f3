//go:build e2e

package e2e

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestTerminal checks that a shell's terminal passes everything, in both directions.
func TestTerminal(t *testing.T) {
	t.Parallel()
	p := newProject(t, "terminal")
	p.ctl("start", ".").ok()
	e := p.terminal("shell", 100, 30, "TERM=xterm-kitty COLORTERM=truecolor claude-vm-ctl shell .")
	e.shows(":" + p.dir + "$")
	run := func(line string) { e.keys("-l", line); e.keys("Enter") }
	run(`echo "$TERM+$COLORTERM"; tput colors`)
	e.shows("xterm-256color+truecolor\n256") // the guest has no terminfo entry for kitty

	// Colors and wide characters, as they appear on the emulator's screen.
	run(`clear; printf '\033[38;2;1;2;3;48;5;214mcolour\033[0m 漢字かな e\314\201 👍 end\n'`)
	e.shows("漢字かな e\u0301 👍 end")
	if got := e.tmux("capture-pane", "-p", "-e"); !strings.Contains(got, "\x1b[38;2;1;2;3m\x1b[48;5;214mcolour") && !strings.Contains(got, "\x1b[38;2;1;2;3;48;5;214mcolour") {
		t.Errorf("colors: %q", got)
	}

	// The host's clipboard, with OSC 52.
	run(`printf '\033]52;c;%s\a' "$(printf 'from the guest' | base64)"`)
	p.eventually("the clipboard has the text", func() bool {
		out := p.command("tmux", "-L", e.name, "show-buffer")
		return out.stdout == "from the guest"
	})

	// Every typed byte arrives. Terminals send escape sequences like these for keys with
	// modifiers, mouse, focus and paste.
	const typed = "\x1b[13;2u\x1b[<0;10;5M\x1b[I\x1b[O\x1b[200~a\tb\x1b[201~\x1bOP\x7f"
	run(fmt.Sprintf("clear; stty raw -echo; head -c %d >/work/typed; stty sane; echo got'='it", len(typed)))
	time.Sleep(time.Second) // until stty has run, which prints nothing
	e.keys("-l", typed)
	e.shows("got=it")
	if got := p.read("typed"); got != typed {
		t.Errorf("typed %q, arrived %q", typed, got)
	}

	// A large paste arrives unchanged.
	paste := strings.Repeat("0123456789abcde\n", 1<<16) // 1 MiB
	file := filepath.Join(t.TempDir(), "paste")
	if err := os.WriteFile(file, []byte(paste), 0o600); err != nil {
		t.Fatal(err)
	}
	run(fmt.Sprintf("clear; stty raw -echo; head -c %d | sha256sum >/work/pasted; stty sane; echo pasted'='it", len(paste)))
	time.Sleep(time.Second)
	e.tmux("load-buffer", file)
	e.tmux("paste-buffer", "-r")
	e.shows("pasted=it")
	if got, want := p.read("pasted"), fmt.Sprintf("%x  -\n", sha256.Sum256([]byte(paste))); got != want {
		t.Errorf("a paste of 1 MiB arrived as %s, want %s", got, want)
	}

	// Large outputs arrive, on a terminal and at a slow reader.
	run("clear; seq 100000; echo counted'='it")
	e.shows("counted=it")
	lines := strings.Fields(e.tmux("capture-pane", "-p", "-S", "-", "-E", "-"))
	count := 0
	for _, line := range lines {
		if line == fmt.Sprint(count+1) {
			count++
		}
	}
	if count != 100000 {
		t.Errorf("%d of 100000 lines arrived in order", count)
	}
	p.want(p.command("sh", "-c", "claude-vm-ctl shell . -- seq 100000 | (sleep 2; sha256sum)"),
		strings.TrimSpace(p.command("sh", "-c", "seq 100000 | sha256sum").ok().stdout))

	// Ctrl-C reaches the program in the guest. Without a terminal, a signal does.
	run("clear; echo sleeps'='now; sleep 1000")
	e.shows("sleeps=now")
	time.Sleep(time.Second)
	e.keys("C-c")
	run("echo status=$?")
	e.shows("status=130")
	p.wantStreams()

	// Keys that are typed while detached do not reach Claude later.
	claude := p.terminal("claude", 100, 30, "claude-vm-ctl attach .; sleep 2; claude-vm-ctl attach .")
	claude.shows(ready)
	claude.keys("C-]", "C-]", "C-]")
	claude.shows("To attach again")
	claude.keys("-l", "nobody reads this")
	claude.shows(ready)
	time.Sleep(time.Second)
	claude.keys("-l", "but this")
	claude.shows("but this")
	if strings.Contains(claude.screen(), "nobody") {
		t.Error("keys typed while detached reached Claude")
	}
}

// wantStreams checks shell without a terminal: streams, status, signals, and that a command
// exits when its client is killed.
func (p *project) wantStreams() {
	p.t.Helper()
	r := p.input("in", "claude-vm-ctl", "shell", ".", "--", "sh", "-c", "cat; echo out; echo err >&2; exit 9")
	if r.stdout != "inout\n" || r.stderr != "err\n" || r.status != 9 {
		p.t.Errorf("streams: %+v", r)
	}
	cmd := exec.Command("claude-vm-ctl", "shell", ".", "--", "sh", "-c", `trap "echo interrupted; exit 5" INT; echo up; while :; do sleep 0.1; done`)
	cmd.Dir = p.dir
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); line != "up\n" {
		p.t.Fatalf("%q, %v", line, err)
	}
	cmd.Process.Signal(os.Interrupt)
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if string(rest) != "interrupted\n" || cmd.ProcessState.ExitCode() != 5 {
		p.t.Errorf("after a signal: %q, status %d", rest, cmd.ProcessState.ExitCode())
	}
	left := p.spawn("", "claude-vm-ctl", "shell", ".", "--", "sleep", "4321")
	p.eventually("the command runs in the guest", func() bool { return p.root("pgrep -f 'sleep 4321$'").status == 0 })
	left.Process.Kill()
	p.eventually("the command exits after its client", func() bool { return p.root("pgrep -f 'sleep 4321$'").status == 1 })
}

// TestSuspend stops all processes for some time, as if a laptop was suspended.
func TestSuspend(t *testing.T) {
	t.Parallel()
	p := newProject(t, "suspend")
	// These command lines contain the directory, so that pkill does not match other tests.
	run, attach := "claude-vm-ctl run "+p.dir, "claude-vm-ctl attach "+p.dir
	p.ctl("start", ".").ok()
	e := p.terminal("claude", 100, 30, run)
	e.shows(ready)
	for _, signal := range []string{"SIGSTOP", "SIGCONT"} {
		for _, unit := range []string{p.unit(), instance.Virtiofsd.Unit(p.id)} {
			p.systemctl("kill", "--signal="+signal, unit).ok()
		}
		p.command("pkill", "--signal="+signal, "--full", "^"+run+"$").ok()
		time.Sleep(3 * time.Second)
	}
	e.keys("-l", "still here")
	e.shows("still here")
	p.write("file", "and so is the share")
	p.want(p.ctl("shell", ".", "--", "cat", "file"), "and so is the share")

	// As if the guest's clock had stopped while the host was suspended.
	p.root("date --set='3 hours ago'").ok()
	p.eventually("the guest's clock matches the host's again", func() bool {
		var guest int64
		fmt.Sscan(p.guest("date +%s"), &guest)
		off := time.Now().Unix() - guest
		return -2 <= off && off <= 2
	})
	if log := p.root("journalctl -u claude-vm-agent").ok().stdout; !regexp.MustCompile(`stepped the clock by (3h0m[0-9]|2h59m5[0-9])s to match the host`).MatchString(log) {
		t.Errorf("the guest's journal: %s", tail(log, 10))
	}

	// Closing the terminal does not stop Claude, and signals detach the client.
	e.close()
	p.eventually("the program in the terminal exits", func() bool {
		return p.command("pgrep", "--full", "^"+run+"$").status == 1
	})
	for _, signal := range []string{"TERM", "HUP"} {
		e := p.terminal(signal, 100, 30, attach)
		e.shows("still here")
		p.command("pkill", "-"+signal, "--full", "^"+attach+"$").ok()
		e.shows("status=0")
		e.shows("To attach again")
	}
	if got := p.property("ActiveState"); got != "active" {
		t.Errorf("ActiveState=%s", got)
	}
}
