// Package dev is the mesh without Kubernetes: what `meshctl dev` does, on one machine, without
// root.
//
// Up reads a mesh.yaml, runs identity, destination and viz in this process on loopback, and starts
// two processes for every instance of a service: its command, which knows nothing of the mesh, and
// a real mesh-proxy beside it. What destination would read from Kubernetes is written as the same
// kinds of YAML into the state folder and watched there.
//
// The package refuses to listen off loopback, to start twice in one folder, and to guess: a
// mesh.yaml it does not fully understand is an error with its line.
//
// The call of Up owns every goroutine and process: it returns when all of them are gone. Should Up
// itself be killed, the kernel kills the processes (Pdeathsig), and the next Up or Down sweeps what
// they had started themselves.
package dev
