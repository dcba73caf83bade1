package sessionsql_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
)

// throughARouter are the tests that TestTheStoresSuiteThroughARouter runs too.
var throughARouter = []func(*testing.T){
	TestOneOfManyAddsWins, TestAddReplacesWhatIsDead,
	TestADeletedEntryIsGoneAndCanBeSetAgain, TestNothingBringsBackAFinallyDeletedEntry,
	TestASetUnderWayNeverBringsBackAFinallyDeletedEntry, TestACancelledDeleteFailsNoOther,
	TestOfAThousandCallersInThreeProgramsOneLoads, TestFetchLoadsWhatGetDoesNotFind,
	TestACallerThatLeavesFetchStopsNoOther, TestAFailedLoadReachesItsCallersAndIsTriedAgain,
	TestAStaleValueIsServedWhileOneCallerLoads, TestCloseEndsALoadThatNobodyWaitsFor,
	TestCloseWaitsForALoadThatACallerWaitsFor, TestCloseGivesUpALoadThatIgnoresItsContext,
	TestConcurrentGetsShareRoundTripsAndNoMemory, TestEntriesPrintNoValue,
	TestNoIncrementOfTwoProgramsIsLost, TestIncrementCountsFromWhereverItIs,
	TestIncrementRefusesWhatIsNoNumber,
	TestJSONCacheKeepsValuesOfItsType,
	TestAllReturnsEachLiveEntryOnceWithItsKey, TestAllEndsWithAnError,
	TestTheLoopReapsACacheAndKeepsItsBudget,
	TestAnyBytesAreAKeyAndAValue, TestATTLIsExactAndNoneIsForEver,
	TestConcurrentSetsShareRoundTripsAndTheLastOfOneKeyCounts, TestSetManyWritesAnyNumberOfEntries,
	TestOneBadEntryFailsNoOthersSet, TestJitterShortensEachTTLByUpToItsShare,
	TestSlackSparesTheWriteOfAnUnchangedEntry, TestAStaleEntryIsGoneForGet,
	TestAnEntryKeepsAllBytes, TestTheExpiryOfAnEntryIsExact, TestTouchExtendsAnEntryByARuleOfSessions,
	TestOfTwoEntriesWithOneKeyTheLastWins,
	TestNoIncrementIsLost, TestALeaseIsItsOwners, TestATombstoneEndsByItself,
	TestSwapTellsItsOutcomesApart, TestALockIsReleasedByItsOwnerOnly,
	TestCacheCallsEndWithTheirContextOrTheStore, TestKeysAreThoseOfSQL, TestCachesOfOtherNamesAreApart,
	TestCachesWorkInEveryModeOfTheDriver,
	TestATouchExtendsAnEntryByFourThirdsOfItsTTL, TestATouchOfAnEntryNeverResurrects,
	TestATouchLeavesAStaleEntryItsStaleTime, TestTouchesOfEntriesSurviveAFailedFlushAndClose,
	TestTheLoopKeepsAnEntryOfAShortTTLAlive,
	TestStoreWorksInEveryExecMode, TestCachesWorkInEveryExecMode,
	TestHostileTokensMoveNoVerb,
	TestInsertKeepsWhatItWasGiven, TestInsertStoresOnlyAHash, TestConcurrentInsertsNeverCross,
	TestOneBadInsertFailsAlone,
	TestTwoSecretsForOneIDNeverCross, TestExpiredSessionsAreInvisibleAtOnce,
	TestKeepingAliveNeverRevivesAnExpiredSession, TestBatchedKeepalivesOfManyNodesNeverDeadlock,
	TestCleanupDeletesOnlyTheExpiredInAnyUnitAndTimeZone, TestTouchNeverWritesBackOldData,
	TestTheStoredHashIsNoToken,
	TestReapRefusesBadLimits, TestStoreReapsByItself, TestReapOfAnEmptyOrShrunkTableBeginsAgain,
	TestReapLeavesLockedRowsForTheNextLap,
	TestConcurrentLogoutsShareRoundTripsAndEachEndsItsOwn,
	TestListSubjectTellsSessionsApart, TestConcurrentInsertsKeepTheirOwnLabels,
	TestRevokeListedEndsOneOtherSessionOfItsSubject,
	TestRotateKeepsTheRowAndChangesTheSecret, TestLogoutWithTheOldTokenEndsTheRotatedSession,
	TestRotatingTwiceLeavesTheUserLoggedIn, TestOfConcurrentRotatesExactlyOneWins,
	TestRotateNeverResurrects, TestRotateAtLoginLeavesTheAnonymousTokenDead,
	TestRotateWithoutGraceEndsTheOldTokenAtOnce, TestSQLRotateRefusesBadInputWithoutRepeatingIt,
	TestTokensOfSQLAndGoAreInterchangeable, TestMalformedTokensOpenNothingAndRaiseNothingInSQL,
	TestSecretsAreDistinctAndEveryBitIsBalanced,
	TestUseSessionKeepsAliveAndWritesOnlyWhenDue, TestVerbsByTokenDoWhatTheStoreDoes,
	TestAContextThatEndsDuringAStatementCostsNoOtherCaller, TestBatchesAreRightWithEveryDriver,
	TestRevokeSubjectEndsAllSessionsButTheKeptOne, TestRevokeSubjectSparesOnlyWhoShowsTheSecret,
	TestListSubjectShowsOwnLiveSessionsNewestFirst,
	TestTokenIs32CharactersOfBase64URL, TestHostileTokensAreOneAndTheSameError,
	TestTouchExtendsByFourThirdsOfTheIdleTimeout, TestTouchNeverResurrects, TestTouchNeverPassesTheDeadline,
	TestTouchWritesNothingWithMoreThanTheIdleTimeoutLeft, TestExpiryIsTheSameInEveryTimeZone,
	TestLookupKeepsAliveAtTheNextFlush, TestLookupKeepsAliveAtOnceWhenLittleIsLeft,
	TestFailedFlushKeepsItsIDs, TestTouchBufferIsBoundedAndDeduplicated,
	TestNoVerbPassesTheDeadline, TestSharedRoundTripsKeepEachSessionsOwnTimeouts,
	TestABankSessionDiesBesideOneThatIsRemembered,
	TestUpdateTellsUpdatedConflictAndGoneApart, TestConcurrentUpdatesLoseNothing,
	TestBatchOfUpdatesWritesOnlyWhatALoneOneWould, TestConcurrentUpdatesOfManySessionsLoseNothing,
	TestOneBadUpdateFailsAlone, TestUpdateKeepsAliveWithinTheDeadline,
}

// notThroughARouter are the other tests, or all of a file, by the reason why they do not.
var notThroughARouter = map[string]string{
	"they ask no table": `
		TestNoEntryUnwrapsToErrNoRows TestACacheWithABadNameOrOptionsRefusesEveryCall
		TestBadKeysTTLsAndValuesAreRefusedBeforeAnySQL TestBadInputIsRefusedBeforeAnySQL
		TestNoSessionUnwrapsToErrNoRows TestRotateRefusesBadOptionsBeforeAnySQL TestTokenNeverPrintsItself
		TestMalformedTokenNeedsNoRoundTrip TestKeysOfEntriesAreThoseOfTheDocuments
		TestTokenPartsAreTheSameInSQLAndGo`,
	"a router has no replicas": `
		clock_test.go TestGetReadsFromTheReplica TestOwnEntriesAreNeverReadBackOlder
		TestAReplicasMissIsAskedAgainOnThePrimary TestReplicasServeEntriesWhileThePrimaryIsAway
		TestALateStandbyNeverSaysThatThereIsNoEntry TestReplicasThatCannotReadAnUnloggedTableStayInUse
		TestWithPrimaryFirstNoOtherProgramsWriteIsMissed TestAReplicaReadsEntries
		TestAnOperatorMayMakeTheCacheUnlogged TestLookupReadsFromTheReplica
		TestReplicaMissIsAskedAgainOnThePrimary TestOwnWritesAreNeverReadBackOlder
		TestOwnRevokeListedIsNeverReadBackOlder TestOwnRotateIsNeverReadBackOlder
		TestOwnWritesThroughTheNewTokenAreNeverReadBackOlderThroughTheOldOne
		TestOwnRevokeSubjectIsNeverReadBackOlder TestUseSessionFindsWhereItCannotWrite`,
	"a router has no near cache": `change_sql_test.go near_test.go near_entry_test.go`,
	"they use MaxSessions": `
		cap_test.go TestALateSaveAfterALogoutDoesNotReviveTheSession TestCleanupNeverDeadlocksWithUpdates
		TestMaxSessionsEvictsTheOldest TestMaxSessionsHoldsUnderConcurrentLogins
		TestEveryVerbKeepsEachSessionsOwnTimeouts TestVerbsByTokenTakeWhatDriversSend
		TestSubjectsAreRefusedBeforeAnySQL TestAStatementThatIsTooLateIsUnavailable`,
	"they use Health": `TestReapCacheDeletesWhatIsExpired`,
	"no transaction spans the shards": `
		permutations_test.go TestEveryInterleavingOfRotateAndAnotherTransaction
		TestEveryInterleavingOfRevokeSubjectAndAnotherTransaction
		TestNoOrderOfStepsBringsAFinallyDeletedEntryBack TestEntriesKeepToTheCallersTransaction
		TestInsertLeavesDurabilityAloneWhenDurable TestInsertTxExistsOnlyOnceCommitted
		TestUseSessionTakesNoDurabilityWhereItWritesNothing TestTouchNeverShortens TestOneReaperAtATime`,
	"they look who waits for a lock, and the router's server does not know": `
		expiry_wait_test.go TestRevokeListedByASessionThatEndsWhileItWaitsEndsNothing
		TestRevokeSubjectWaitsForWhatIsBeingKeptAlive TestALockedSessionHoldsUpNoOtherUpdate
		TestALogoutOfALockedSessionHoldsUpNoOther
		TestAWaitingCallerLeavesWhenItsContextEnds TestStoppingTheCleanupNeitherPanicsNorHangs`,
	"the limits of a reaper hold on each shard": `
		cache_reap_sql_test.go TestReapReadsAtMostMaxPagesOnATableOfAnySize
		TestReapLapDeletesExactlyTheExpired TestConcurrentTouchesReapsAndRevokesUnderAnyPlan`,
	"they look at plans, pages or versions of rows": `
		subject_plan_test.go TestLookupPlansAnIndexScanByIDAlone TestLookupBatchOfAnyLengthHasOnePlan
		TestListSubjectUsesTheIndex TestTouchIsHOT TestNeighboursAreKeptAliveInPlace
		TestBatchOfUpdatesFindsRowsByID TestAnUnchangedEntryIsNotWritten TestLosersOfAnAddOrALeaseWriteNothing
		TestKeepaliveAndOverwritesOfEntriesAreHOT TestUpsertsKeepTheOrderOfKeys`,
	"a server of their own fails": `
		crash_test.go durability_test.go outage_test.go TestFinalDeletesSurviveACrash
		TestAnotherProgramTakesOverFromOneThatDied TestFetchReturnsWhatItCannotWrite
		TestEveryCacheCallEndsWithoutADeadlineOfItsCallers TestWritesFollowAFailoverWithoutARestart
		TestRotateSurvivesACrash TestRevokeSubjectSurvivesACrash`,
	"they install, upgrade, divide or change a database of their own": `
		open_test.go roles_test.go secrecy_test.go settings_test.go shard_test.go upgrade_test.go
		TestCacheCallsSayThatTheBundleIsOlder TestAStoreWithoutACacheDoesNotAskForOne
		TestAnIDThatIsTakenNeverTakesOverASession TestConcurrentLogoutsWorkWithAnOlderBundle`,
	"PL/Proxy says in its own words what is wrong": `
		TestSQLRefusesBadInputWithoutRepeatingIt TestBadEntriesAreRefusedByNameAndNotShown`,
	"they are long, and others show the same": `
		TestAMillionHostileTokensOpenNothing TestAStormOfCallsDeadlocksNobodyAndLosesNoIncrement
		TestOneOfManyAddsAndLeasesWins`,
	"they make routers": `router_test.go router_suite_test.go`,
}

func TestTheStoresSuiteThroughARouter(t *testing.T) {
	// A connection to the router may take one to each shard.
	cluster := sessiontest.StartCluster(t,
		&pgcluster.Options{Settings: map[string]string{"max_connections": "500"}})
	defer func() { router = nil }()
	for _, test := range throughARouter {
		if router == nil {
			router = newRouter(t, 4, cluster)
			router.showShards()
		}
		if !t.Run(nameOf(test), test) {
			router = nil // because a test that failed may leave a lock behind
		}
	}
}

func TestEveryTestRunsThroughARouterOrSaysWhyNot(t *testing.T) {
	named := map[string]int{}
	for _, test := range throughARouter {
		named[nameOf(test)]++
	}
	for _, names := range notThroughARouter {
		for _, name := range strings.Fields(names) {
			named[name]++
		}
	}
	known := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		must(t, err)
		if parsed.Name.Name != "sessionsql_test" {
			continue
		}
		known[file] = true
		for _, declared := range parsed.Decls {
			test, ok := declared.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(test.Name.Name, "Test") || test.Name.Name == "TestMain" {
				continue
			}
			name := test.Name.Name
			known[name] = true
			if n := named[name] + named[file]; n != 1 {
				t.Errorf("%s is named %d times in throughARouter and notThroughARouter, want once", name, n)
			}
		}
	}
	for name := range named {
		if !known[name] {
			t.Errorf("there is no %s", name)
		}
	}
}

func nameOf(test func(*testing.T)) string {
	name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
	return name[strings.LastIndex(name, ".")+1:]
}

// showShards makes the tables of the shards children of the router's own, which are empty. So the SQL of a
// test reads and writes the rows of all shards there. The functions of the router cannot, because their owner
// has no user mapping.
func (d *database) showShards() {
	d.primary.MustExec("CREATE EXTENSION postgres_fdw")
	d.primary.MustExec("ALTER VIEW sessionsql.live_session SET (security_invoker = on)")
	for i, shard := range d.shards {
		d.primary.MustExec(fmt.Sprintf(`
			CREATE SERVER shard%[1]d FOREIGN DATA WRAPPER postgres_fdw
			  OPTIONS (host '127.0.0.1', port '%[2]d', dbname '%[3]s');
			CREATE USER MAPPING FOR CURRENT_USER SERVER shard%[1]d OPTIONS (user 'postgres');
			CREATE FOREIGN TABLE session%[1]d () INHERITS (sessionsql.session)
			  SERVER shard%[1]d OPTIONS (schema_name 'sessionsql', table_name 'session');
			CREATE FOREIGN TABLE cache_entry%[1]d () INHERITS (sessionsql.cache_entry)
			  SERVER shard%[1]d OPTIONS (schema_name 'sessionsql', table_name 'cache_entry')`,
			i, shard.Cluster.Primary.Port, shard.Name))
	}
}

// empty deletes the rows of an earlier test, after its last calls have ended.
func (d *database) empty(t testing.TB) {
	t.Helper()
	for _, each := range append([]*database{d}, d.shards...) {
		eventually(t, "no call is under way", func() bool {
			return get[bool](t, each.primary, `SELECT NOT EXISTS (SELECT FROM pg_stat_activity AS a
				WHERE a.datname = current_database() AND a.backend_type = 'client backend'
				  AND a.state <> 'idle' AND a.pid <> pg_backend_pid())`)
		})
	}
	for _, shard := range d.shards {
		shard.primary.MustExec("TRUNCATE sessionsql.session, sessionsql.cache_entry, sessionsql.cache_space")
	}
}
