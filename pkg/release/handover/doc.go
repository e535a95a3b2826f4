// Package handover hands an application over: from Flagger to Serin, back to Flagger, or back to its Deployment.
package handover
