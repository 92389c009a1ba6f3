package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeepLocales(t *testing.T) {
	env := map[string]string{"LANG": "C.UTF-8", "LC_TIME": "xx_XX.UTF-8", "LC_ALL": "", "LC_NUMERIC": "C.utf8", "LANGUAGE": "xx"}
	keepLocales(env)
	want := map[string]string{"LANG": "C.UTF-8", "LC_NUMERIC": "C.utf8", "LANGUAGE": "xx"}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("keepLocales() mismatch (-want +got):\n%s", diff)
	}
}

func TestSetTimeZone(t *testing.T) {
	for _, name := range []string{"../../etc/passwd", "/etc/passwd", "No/Such_Zone", "Europe"} {
		if err := setTimeZone(name); err == nil {
			t.Errorf("setTimeZone(%q) succeeds", name)
		}
	}
}
