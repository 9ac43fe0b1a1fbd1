package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// Web is the shop's front: a page, and all the rest is checkout's.
func Web(checkout string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Welcome to the shop. Try /cart, /stock, /delivery, /search, /coupon, "+
			"/slow, /broken, or POST to /pay.")
	})
	mux.HandleFunc("/", newUpstream(checkout).forward)
	return mux
}

// Suppliers are the URLs of those whom checkout asks.
type Suppliers struct{ Inventory, Payments, Delivery string }

// Checkout knows carts, and where stock, payments and deliveries are.
func Checkout(s Suppliers) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/cart", cart)
	mux.HandleFunc("/stock", newUpstream(s.Inventory).forward)
	mux.HandleFunc("/pay", newUpstream(s.Payments).forward)
	mux.HandleFunc(DeliveryPath, newUpstream(s.Delivery).forward)
	mux.HandleFunc("/search", say("nothing like it"))
	mux.HandleFunc("/coupon", say("ten percent off"))
	mux.HandleFunc("/broken", broken)
	mux.HandleFunc("/slow", slow)
	return counted(mux)
}

// say answers the same always.
func say(words string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, words) }
}

// cart gives back what was put in.
func cart(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "cart: %s\n", body)
}

func broken(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "broken, as always", http.StatusInternalServerError)
}

// SlowAnswer is how long checkout's /slow takes: far beyond any timeout that a profile would give
// it.
const SlowAnswer = 20 * time.Second

func slow(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(SlowAnswer):
		fmt.Fprintln(w, "at last")
	case <-r.Context().Done():
	}
}

// FlakyPercent is how many requests in a hundred inventory's /stock fails.
const FlakyPercent = 30

// Inventory has a flaky /stock.
func Inventory() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/stock", func(w http.ResponseWriter, _ *http.Request) {
		if rand.IntN(100) < FlakyPercent {
			http.Error(w, "stock is being counted", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "plenty")
	})
	return counted(mux)
}

// DeliveryPath is what a delivery is asked.
const DeliveryPath = "/delivery"

// Delivery says when a parcel comes. The one that is broken never does.
func Delivery(broken bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(DeliveryPath, func(w http.ResponseWriter, _ *http.Request) {
		if broken {
			http.Error(w, "the van has a flat tyre", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "tomorrow")
	})
	return counted(mux)
}

// Payments takes money, and says which version did.
func Payments(version string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/pay", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set(VersionHeader, version)
		fmt.Fprintf(w, "paid, says %s\n", version)
	})
	return counted(mux)
}

// Marker is in the body of every POST of the demo: whoever reads along on the network can look for
// it.
const Marker = "tulle-plaintext-marker"

// legacyPause lets the old caller be seen without weighing anything.
const legacyPause = 250 * time.Millisecond

// Legacy is an old caller without a proxy, that fills carts until the context ends.
func Legacy(ctx context.Context, checkout string) error {
	if checkout == "" {
		return errors.New("CHECKOUT_URL is not set")
	}
	client := newUpstream(checkout).client
	tick := time.NewTicker(legacyPause)
	defer tick.Stop()
	for {
		if err := fill(ctx, client, checkout); err != nil && ctx.Err() == nil {
			fmt.Println("legacy:", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func fill(ctx context.Context, client *http.Client, checkout string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, checkout+"/cart",
		strings.NewReader(Marker))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("POST /cart: %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
