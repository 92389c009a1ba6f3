package step

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
)

// fakeCommand is a user manager with one VM.
type fakeCommand struct {
	environment map[string]string
	command     string
}

func (f fakeCommand) ServiceEnvironment(context.Context, string) (map[string]string, error) {
	env := map[string]string{"DEVICES": "-device vmgenid,guid=auto", "MEMORY": "1024M"}
	for name, value := range f.environment {
		env[name] = value
	}
	return env, nil
}

func (f fakeCommand) Command(context.Context, string) (string, []string, error) {
	return "/bin/ctl", strings.Fields(f.command), nil
}

const testCommand = "/bin/ctl unit exec -- a qemu -name guest=a -m ${MEMORY} -append ${GUEST_APPEND} $DEVICES $NOTHING"

// newBundle returns a directory with what a snapshot depends on.
func newBundle(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"qemu", "virtiofsd", "kernel", "initrd", "root.erofs"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "guest.env"), []byte(`GUEST_APPEND="a b"`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSnapshotSpec(t *testing.T) {
	bundle := newBundle(t)
	resume := instance.Record{}
	resume.Settings.Resume = true
	for name, c := range map[string]struct {
		record  instance.Record
		manager fakeCommand
		want    string
	}{
		"usual":              {resume, fakeCommand{nil, testCommand}, "qemu|-name|guest=snapshot|-m|1024M|-append|a b|-device|vmgenid,guid=auto"},
		"Resume=no":          {instance.Record{}, fakeCommand{nil, testCommand}, ""},
		"QEMUArguments=":     {resume, fakeCommand{map[string]string{"QEMU_ARGUMENTS": "-drive x"}, testCommand}, ""},
		"no vmgenid":         {resume, fakeCommand{map[string]string{"DEVICES": ""}, testCommand}, ""},
		"another ExecStart=": {resume, fakeCommand{nil, "/bin/qemu $DEVICES"}, ""},
		"another processor": {resume, fakeCommand{map[string]string{"EMULATED_CPU": "max,erms=off"}, testCommand + " -cpu max"},
			"qemu|-name|guest=snapshot|-m|1024M|-append|a b|-device|vmgenid,guid=auto|-cpu|max,erms=off"},
		"an ExecStart= of ours": {resume, fakeCommand{nil, "/bin/ctl unit exec -- other qemu $DEVICES"}, ""},
	} {
		got, err := SnapshotSpec(t.Context(), c.manager, "a", c.record, bundle, filepath.Join(bundle, "virtiofsd"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		command := ""
		if got != nil {
			command = strings.Join(got.Command, "|")
		}
		if command != c.want {
			t.Errorf("%s: command %q, want %q", name, command, c.want)
		}
	}
}

// TestFindSnapshot checks that a start makes a snapshot, resumes from it, and removes it if it is damaged.
func TestFindSnapshot(t *testing.T) {
	bundle := newBundle(t)
	t.Setenv("VIRTIOFSD", filepath.Join(bundle, "virtiofsd"))
	t.Setenv("PATH", bundle+":"+os.Getenv("PATH"))
	store := snapshot.Store(t.TempDir())
	r := instance.Record{GuestVersion: "debian"}
	r.Settings.Resume = true
	find := func() *snapshot.Use {
		t.Helper()
		use, err := findSnapshot(t.Context(), fakeCommand{nil, testCommand}, store, "a", r, bundle)
		if err != nil || use == nil {
			t.Fatalf("findSnapshot() = %v, %v", use, err)
		}
		return use
	}
	make := func(use *snapshot.Use) {
		t.Helper()
		lock, err := store.Begin(use.Key)
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
		if err := os.WriteFile(store.NewMemory(use.Key), []byte("QEVM and memory"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := store.Commit(use.Key, snapshot.Spec{Guest: "debian"}); err != nil {
			t.Fatal(err)
		}
	}
	use := find()
	spec, err := store.ReadSpec(use.Key)
	if err != nil || use.Resume || !slices.Contains(spec.Command, "1024M") {
		t.Errorf("without a snapshot: %+v, %+v, %v", use, spec, err)
	}
	make(use)
	if got := find(); !got.Resume || got.Key != use.Key || got.Command != snapshot.Digest([]string{"qemu", "-name", "guest=b", "-m", "1024M", "-append", "a b", "-device", "vmgenid,guid=auto"}) {
		t.Errorf("with a snapshot: %+v", got)
	}
	for what, damage := range map[string]func(file string) error{
		"without its memory": os.Remove,
		"with other memory":  func(file string) error { return os.WriteFile(file, []byte("QEVM and Memory"), 0o600) },
	} {
		if err := errors.Join(os.Chmod(store.Memory(use.Key), 0o600), damage(store.Memory(use.Key))); err != nil {
			t.Fatal(err)
		}
		if got := find(); got.Resume || len(store.List()) != 0 {
			t.Errorf("%s: %+v, left %v", what, got, store.List())
		}
		make(use)
	}
}
