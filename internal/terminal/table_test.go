package terminal

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTable checks that widths are in columns of a terminal.
func TestTable(t *testing.T) {
	rows := [][]string{{"A", "B", "C"}, {"日本", "x", "long text"}, {"e\u0301", "yy", "日本日本日本"}}
	want := []string{"A     B   C", "日本  x   long text", "e\u0301     yy  日本日本日本"}
	if diff := cmp.Diff(want, Table(rows, 0)); diff != "" {
		t.Errorf("Table() mismatch (-want +got):\n%s", diff)
	}
	want = []string{"A     B   C", "日本  x   long…", "e\u0301     yy  日本…"}
	if diff := cmp.Diff(want, Table(rows, 15)); diff != "" {
		t.Errorf("Table() of 15 columns mismatch (-want +got):\n%s", diff)
	}
}
