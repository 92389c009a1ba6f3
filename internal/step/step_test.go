package step

import (
	"encoding/json"
	"fmt"
	"net"
	"reflect"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// describe returns the exit status, the text and the hint of an error in one line.
func describe(err error) string {
	e := failure.Of(err)
	return fmt.Sprintf("%d: %v; hint: %s", e.Status, e, e.Hint)
}

// TestBeginOmitsHostFields checks that the fields of a request that are for the host are not
// sent to the guest. It sets all fields by reflection, so that new ones are included.
func TestBeginOmitsHostFields(t *testing.T) {
	var r instance.Record
	mark(reflect.ValueOf(&r.Request).Elem(), "")
	b, err := newBegin(r, "/d")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`MARK\.[A-Za-z.]*`).FindAllString(string(text), -1)
	// The environment of the request is in Record.Environment, without what stays on the host.
	want := []string{"MARK.Session.Arguments"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts of the request in begin mismatch (-want +got):\n%s", diff)
	}
}

// mark sets each string in v to the name of its field.
func mark(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			mark(v.Field(i), name+"."+v.Type().Field(i).Name)
		}
	case reflect.String:
		v.SetString("MARK" + name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		mark(v.Index(0), name)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"NAME": "MARK" + name}))
	}
}

func TestExplainResult(t *testing.T) {
	for _, c := range []struct {
		result, code, status string
		ready                bool
		want                 string
	}{
		{result: "signal", code: "killed", status: "KILL", want: "QEMU was killed by SIGKILL"},
		{result: "core-dump", code: "dumped", status: "SEGV", ready: true, want: "QEMU was killed by SIGSEGV"},
		{result: "timeout", want: "the guest did not start in time"},
		{result: "timeout", ready: true, want: "the guest did not shut down in time and was killed"},
		{result: "exit-code", code: "exited", status: "1", want: "QEMU exited with status 1"},
		{result: "exit-code", code: "exited", status: "0"}, // another command of the unit has failed
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

// TestPowerButton checks that errors of the QEMU monitor are returned.
func TestPowerButton(t *testing.T) {
	t.Chdir(t.TempDir())
	monitor, err := net.Listen("unix", contract.QMPSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	for answers, want := range map[string]string{
		`{"QMP": {}} {"return": {}} {"event": "STOP"} {"return": {}}`: "<nil>",
		`{"QMP": {}} {"return": {}} {"error": {"desc": "not now"}}`:   "QEMU monitor: system_powerdown: not now",
		`{"QMP": {}}`: "QEMU monitor: qmp_capabilities: EOF",
		`nonsense`:    "QEMU monitor: greeting: invalid character 'o' in literal null (expecting 'u')",
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
