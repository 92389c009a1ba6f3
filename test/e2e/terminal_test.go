//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
)

// emulator is a tmux server with one terminal that runs a command.
type emulator struct {
	p    *project
	name string
}

// terminal runs a shell command in a new terminal of the given size.
func (p *project) terminal(name string, columns, rows int, command string) *emulator {
	p.t.Helper()
	e := &emulator{p: p, name: strings.ReplaceAll(p.t.Name(), "/", ".") + name}
	e.tmux("-f", "/dev/null", "start-server", ";", "set-option", "-g", "history-limit", "200000", ";",
		"set-option", "-g", "set-clipboard", "on", ";", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows),
		command+`; echo "status=$?"; exec sleep 1000`)
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.t.Logf("terminal %s shows:\n%s", name, e.screen())
		}
		e.close()
	})
	return e
}

func (e *emulator) tmux(args ...string) string {
	e.p.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-L", e.name}, args...)...)
	cmd.Dir = e.p.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.p.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// close closes the terminal, as a user closes its window.
func (e *emulator) close() { exec.Command("tmux", "-L", e.name, "kill-server").Run() }

func (e *emulator) screen() string {
	out, _ := exec.Command("tmux", "-L", e.name, "capture-pane", "-p").CombinedOutput()
	return string(out)
}

func (e *emulator) resize(columns, rows int) {
	e.p.t.Helper()
	e.tmux("resize-window", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows))
}

func (e *emulator) keys(keys ...string) {
	e.p.t.Helper()
	e.tmux(append([]string{"send-keys"}, keys...)...)
}

// shows waits until text is on the screen.
func (e *emulator) shows(text string) {
	e.p.t.Helper()
	e.p.eventually(fmt.Sprintf("the terminal shows %q", text), func() bool { return strings.Contains(e.screen(), text) })
}

// fails waits until the command has failed with this status, and checks that the screen
// ends with this message and hint.
func (e *emulator) fails(status int, message, hint string) {
	e.p.t.Helper()
	end := fmt.Sprintf("status=%d", status)
	e.shows(end)
	var screen strings.Builder // without the echo of Ctrl-C
	for line := range strings.Lines(e.tmux("capture-pane", "-p", "-J")) {
		screen.WriteString(strings.TrimSpace(strings.TrimPrefix(line, "^C")) + "\n")
	}
	want := "\n" + failure(message, hint) + end
	if got := "\n" + strings.TrimSpace(screen.String()); !strings.HasSuffix(got, want) {
		e.p.t.Errorf("the screen of terminal %s ends with %q, want %q", e.name, got[max(0, len(got)-len(want)-100):], want)
	}
}

// kill kills the program that the terminal's shell runs.
func (e *emulator) kill(name string) {
	e.p.t.Helper()
	shell := strings.TrimSpace(e.tmux("display-message", "-p", "#{pane_pid}"))
	e.p.command("pkill", "-KILL", "--parent", shell, "--exact", name).ok()
}

// widest returns the width of the longest line, without trailing spaces.
func (e *emulator) widest() int {
	widest := 0
	for line := range strings.Lines(e.screen()) {
		widest = max(widest, len([]rune(strings.TrimRight(line, " \n"))))
	}
	return widest
}
