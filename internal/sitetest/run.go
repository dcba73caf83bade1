package sitetest

import "testing"

// Run tests the promises of an adapter, each on sites of its own.
func Run(t *testing.T, shop Shop) {
	for name, test := range map[string]func(*testing.T, Shop){
		"TheCookieIsStrict":                   theCookieIsStrict,
		"NoTokenNoLookup":                     noTokenNoLookup,
		"ATamperedTokenOpensNothing":          aTamperedTokenOpensNothing,
		"AnExpiredSessionIsGone":              anExpiredSessionIsGone,
		"AUseKeepsASessionAlive":              aUseKeepsASessionAlive,
		"APlantedTokenGivesNothing":           aPlantedTokenGivesNothing,
		"ALogInAgainSparesOtherDevices":       aLogInAgainSparesOtherDevices,
		"ALogInHasItsOwnTimeouts":             aLogInHasItsOwnTimeouts,
		"ConcurrentLogInsAllSucceed":          concurrentLogInsAllSucceed,
		"ALogInRefusesBadOptions":             aLogInRefusesBadOptions,
		"ALogInLosesNoChangeOfAnotherRequest": aLogInLosesNoChangeOfAnotherRequest,
		"ALogOutIsFinal":                      aLogOutIsFinal,
		"ALogOutEverywhereEndsEveryDevice":    aLogOutEverywhereEndsEveryDevice,
		"ConcurrentSavesLoseNothing":          concurrentSavesLoseNothing,
		"ALateSaveBringsNothingBack":          aLateSaveBringsNothingBack,
		"AnOutageLogsNobodyOut":               anOutageLogsNobodyOut,
		"ALateReplicaLosesNoChange":           aLateReplicaLosesNoChange,
	} {
		t.Run(name, func(t *testing.T) { test(t, shop) })
	}
}
