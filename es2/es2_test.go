package es2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"godwit/ident"
	"godwit/rsp"
)

func TestClient(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+rsp.PathES2+rsp.FnDownloadOrder, func(w http.ResponseWriter, r *http.Request) {
		var q rsp.DownloadOrder
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Header.Get("Content-Type") != rsp.ContentType || r.Header.Get(rsp.HeaderProtocol) == "" {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		answer := rsp.DownloadOrderResult{Header: rsp.Succeeded, ICCID: q.ICCID}
		if q.Header.Requester != "me" {
			answer = rsp.DownloadOrderResult{Header: rsp.Refuse(rsp.CallerForbidden, "who?").Header()}
		}
		json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("POST "+rsp.PathES2+rsp.FnConfirmOrder, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("POST "+rsp.PathES2+rsp.FnReleaseProfile, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	mux.HandleFunc("POST "+rsp.PathES2+rsp.FnCancelOrder, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<html>")
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	client := &Client{URL: server.URL + "/", Requester: "me", HTTP: NewHTTP(nil), Parallel: 3}

	var calls []rsp.DownloadOrder
	for i := range 20 {
		calls = append(calls, rsp.DownloadOrder{ICCID: ident.ICCID(fmt.Sprintf("89%017d", i))})
	}
	calls = append(calls, rsp.DownloadOrder{Header: rsp.RequestHeader{Requester: "another"}})
	answers, err := client.DownloadOrders(t.Context(), calls)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers[:20] {
		if a.ICCID != calls[i].ICCID || a.Header.Err() != nil {
			t.Errorf("call %d: %+v", i, a)
		}
	}
	if f, ok := rsp.AsFailure(answers[20].Header.Err()); !ok || f.StatusCode != rsp.CallerForbidden {
		t.Errorf("refused call: %v", answers[20].Header.Err())
	}
	if calls[0].Header.Requester != "" {
		t.Error("the caller's calls were changed")
	}
	if _, err := client.ConfirmOrders(t.Context(), []rsp.ConfirmOrder{{}}); err == nil || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "307") {
		t.Errorf("redirect: %v", err)
	}
	if _, err := client.ReleaseProfiles(t.Context(), []rsp.ReleaseProfile{{}}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("overloaded: %v", err)
	}
	if _, err := client.CancelOrders(t.Context(), []rsp.CancelOrder{{}}); err == nil || errors.Is(err, ErrUnreachable) {
		t.Errorf("no JSON: %v", err)
	}
	server.Close()
	if _, err := client.DownloadOrders(t.Context(), calls[:1]); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestReceiver(t *testing.T) {
	var got []rsp.ProgressInfo
	var failure error
	server := httptest.NewServer(Receiver(func(_ context.Context, info rsp.ProgressInfo) error {
		got = append(got, info)
		return failure
	}))
	defer server.Close()
	client := &Client{URL: server.URL, HTTP: NewHTTP(nil)}
	info := rsp.ProgressInfo{ICCID: "8944000000000000019", Point: rsp.PointInstallation, Status: rsp.Succeeded.Execution, ResultData: []byte{1, 2}}
	if err := client.SendProgress(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].ICCID != info.ICCID || got[0].Point != info.Point || string(got[0].ResultData) != "\x01\x02" {
		t.Errorf("received %+v", got)
	}
	failure = errors.New("disk full")
	if err := client.SendProgress(t.Context(), info); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a receiver in trouble: %v, want to come again", err)
	}
	for _, tt := range []struct {
		contentType, body string
		want              int
	}{{"text/plain", "{}", http.StatusUnsupportedMediaType}, {rsp.ContentType, "{", http.StatusBadRequest}, {rsp.ContentType, `{"iccid":5}`, http.StatusBadRequest}} {
		answer, err := http.Post(server.URL, tt.contentType, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != tt.want {
			t.Errorf("%s %q: HTTP status %d, want %d", tt.contentType, tt.body, answer.StatusCode, tt.want)
		}
	}
}
