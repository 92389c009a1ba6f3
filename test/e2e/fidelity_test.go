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

	"github.com/creack/pty"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// setClipboard sets the clipboard with OSC 52 to "from the guest".
const setClipboard = `printf '\033]52;c;ZnJvbSB0aGUgZ3Vlc3Q=\a'`

// TestTerminal checks that a shell's terminal passes all that is harmless, in both directions.
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

	p.wantTitle(e)
	p.wantNoAnswers()

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
	claude := p.terminal("claude", 100, 30, "claude-vm-ctl attach .; sleep 10; claude-vm-ctl attach .")
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

// wantTitle checks that the program in a terminal's shell can set neither the clipboard nor the
// title of another program, and that leaving the shell restores the title.
func (p *project) wantTitle(e *emulator) {
	p.t.Helper()
	shell := p.terminal("title", 100, 30, `printf '\033]2;mine\a'; claude-vm-ctl shell .`)
	title := func() string { return strings.TrimSpace(shell.tmux("display-message", "-p", "#{pane_title}")) }
	shell.shows(":" + p.dir + "$")
	if got := title(); got != "mine" {
		p.t.Errorf("the title was changed to %q", got)
	}
	shell.keys("-l", setClipboard+`; printf '\033]2;root@\342\200\256host\a\033[23t'; echo writ'ten'`)
	shell.keys("Enter")
	shell.shows("\nwritten")
	if got, want := title(), "claude-vm "+filepath.Base(p.dir)+": root@host"; got != want {
		p.t.Errorf("the title is %q, want %q", got, want)
	}
	shell.keys("C-d")
	shell.shows("claude-vm-ctl: a program in the VM tried to use the clipboard")
	if got := title(); got != "mine" {
		p.t.Errorf("after the shell, the title is %q", got)
	}
	for _, e := range []*emulator{e, shell} {
		if out := p.command("tmux", "-L", e.name, "show-buffer"); out.status == 0 {
			p.t.Errorf("the clipboard has %q", out.stdout)
		}
	}
}

// wantNoAnswers checks that a terminal's answers to a program that exits at once, which arrive
// late, are not input of the program that runs next on the host.
func (p *project) wantNoAnswers() {
	p.t.Helper()
	cmd := exec.Command("sh", "-c", `claude-vm-ctl shell . -- printf 'x\033[6n\033]11;?\a\033[cy'; stty raw -echo min 0 time 20; cat -v; echo '|end'`)
	cmd.Dir = p.dir
	term, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		p.t.Fatal(err)
	}
	defer term.Close()
	defer cmd.Wait()
	queries := map[string]string{"\x1b[6n": "\x1b[1;2R", "\x1b]11;?\a": "\x1b]11;rgb:1/2/3\a", "\x1b[c": "\x1b[?64;1c"}
	answers := make(chan string, 10)
	go func() {
		for answer := range answers {
			time.Sleep(50 * time.Millisecond) // the terminal is far away; not near settleTimeout of internal/terminal
			io.WriteString(term, answer)
		}
	}()
	var shown strings.Builder
	buf := make([]byte, 1) // so that no query is split
	last := ""
	for !strings.HasSuffix(shown.String(), "|end") {
		if _, err := term.Read(buf); err != nil {
			break
		}
		shown.Write(buf)
		last = (last + string(buf))[max(0, len(last)-9):]
		for query, answer := range queries {
			if strings.HasSuffix(last, query) {
				answers <- answer
			}
		}
	}
	close(answers)
	if !strings.HasSuffix(shown.String(), "\x1b[c|end") { // the last query of the client, then nothing that cat read
		p.t.Errorf("the terminal shows %q", shown.String())
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
	deaf := p.spawn("", "claude-vm-ctl", "shell", ".", "--", "sh", "-c", "trap '' INT; sleep 4322; sleep 4322")
	p.eventually("the command runs in the guest", func() bool { return p.root("pgrep -f '^sleep 4322$'").status == 0 })
	for range 3 {
		deaf.Process.Signal(os.Interrupt)
		time.Sleep(200 * time.Millisecond) // or two are one
	}
	deaf.wait().fails(130, "interrupted; the command in the VM does not end", "")
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
