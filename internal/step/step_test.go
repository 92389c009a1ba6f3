package step

import (
	"fmt"
	"net"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

// describe is an error, its exit status and its hint, in one line.
func describe(err error) string {
	e := failure.Of(err)
	return fmt.Sprintf("%d: %v; hint: %s", e.Status, e, e.Hint)
}

// TestBeginTellsNoHost: what is the host's alone stays there.
func TestBeginTellsNoHost(t *testing.T) {
	b, err := newBegin(contract.Request{By: "somebody", Once: "token"}, "/d")
	if err != nil || b.By != "" || b.Once != "" {
		t.Errorf("newBegin() = %+v, %v", b.Request, err)
	}
}

func TestRestartedBy(t *testing.T) {
	for by, want := range map[string]string{"run": "run, restarted by systemd", "run, restarted by systemd": "run, restarted by systemd", "": ""} {
		if got := restartedBy(by); got != want {
			t.Errorf("restartedBy(%q) = %q, want %q", by, got, want)
		}
	}
}

// TestExplainResult: what becomes the unit's status when systemd has found a failure.
func TestExplainResult(t *testing.T) {
	for _, c := range []struct {
		result, code, status string
		ready                bool
		want                 string
	}{
		{result: "signal", code: "killed", status: "KILL", want: "QEMU was killed by SIGKILL"},
		{result: "core-dump", code: "dumped", status: "SEGV", ready: true, want: "QEMU was killed by SIGSEGV"},
		{result: "timeout", want: "the guest did not come up in time"},
		{result: "timeout", ready: true, want: "the guest did not shut down in time and was killed"},
		{result: "exit-code", code: "exited", status: "1", want: "QEMU exited with status 1"},
		{result: "exit-code", code: "exited", status: "0"}, // a helper has failed
		{result: "exit-code", code: "killed", status: "TERM"},
		{result: "protocol"},
	} {
		t.Setenv("EXIT_CODE", c.code)
		t.Setenv("EXIT_STATUS", c.status)
		if got := explainResult(c.result, contract.Status{Ready: c.ready}); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestPowerButton: what QEMU's monitor has against it is told.
func TestPowerButton(t *testing.T) {
	t.Chdir(t.TempDir())
	monitor, err := net.Listen("unix", contract.QMPSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	for answers, want := range map[string]string{
		`{"QMP": {}} {"return": {}} {"event": "STOP"} {"return": {}}`: "<nil>",
		`{"QMP": {}} {"return": {}} {"error": {"desc": "not now"}}`:   "QEMU's monitor: system_powerdown: not now",
		`{"QMP": {}}`: "QEMU's monitor: qmp_capabilities: EOF",
		`nonsense`:    "QEMU's monitor: its greeting: invalid character 'o' in literal null (expecting 'u')",
	} {
		go func() {
			if c, err := monitor.Accept(); err == nil {
				c.Write([]byte(answers))
				c.(*net.UnixConn).CloseWrite()
				c.Read(make([]byte, 1000))
				c.Read(make([]byte, 1000))
				c.Close()
			}
		}()
		if got := fmt.Sprint(pressPowerButton()); got != want {
			t.Errorf("%s: %s, want %s", answers, got, want)
		}
	}
}
