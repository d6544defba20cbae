<#
.SYNOPSIS
Installs ChatGPT API Platform as a Windows service, upgrades it, or removes it.

.DESCRIPTION
Run it in an elevated PowerShell (5.1 or newer), with chatgpt-platform.exe beside it:

    powershell -ExecutionPolicy Bypass -File install.ps1

The service starts with the machine, is restarted when it fails, runs as a virtual account of its own with no rights
but those given here, and keeps its configuration, key, logs and state in %ProgramData%\chatgpt-platform. Run it
again to upgrade: configuration, key and state stay as they are.

.PARAMETER Executable
The executable to install; by default chatgpt-platform.exe beside this script.

.PARAMETER KeyFile
A file that holds the upstream's key. Without it, the first installation asks for the key. Never give a key on the
command line: every program can read those.

.PARAMETER NoKey
Ask for no key: each caller brings one, or the configuration holds it.

.PARAMETER OpenFirewall
Let other computers reach the configured port.

.PARAMETER Remove
Remove the service, the program and the firewall rule. Configuration, key, logs and state stay, unless -Purge is
given too.

.PARAMETER Purge
With -Remove: delete configuration, key, logs and state too.

.NOTES
Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong parameters or not elevated.
#>
[CmdletBinding()]
param(
    [string]$Executable = '',
    [string]$KeyFile = '',
    [switch]$NoKey,
    [switch]$OpenFirewall,
    [switch]$Remove,
    [switch]$Purge
)

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

$Name = 'chatgpt-platform'
$DisplayName = 'ChatGPT API Platform'
$Account = "NT SERVICE\$Name"
$Program = Join-Path $env:ProgramFiles $Name
$Data = Join-Path $env:ProgramData $Name
$Installed = Join-Path $Program 'chatgpt-platform.exe'
$Config = Join-Path $Data 'chatgpt.yaml'
$Key = Join-Path $Data 'api_key.txt'
$Logs = Join-Path $Data 'logs'
$State = Join-Path $Data 'state'
$Temp = Join-Path $Data 'temp'
$ServiceKey = "HKLM:\SYSTEM\CurrentControlSet\Services\$Name"
$EventKey = "HKLM:\SYSTEM\CurrentControlSet\Services\EventLog\Application\$Name"
$Rule = "$Name (TCP in)"

# Names differ by language, these identifiers do not.
$System = '*S-1-5-18'
$Administrators = '*S-1-5-32-544'

$StopSeconds = 60
$ReadySeconds = 90

function Fail([string]$Message, [int]$Code = 1) {
    [Console]::Error.WriteLine("install.ps1: $Message")
    exit $Code
}

function Test-Elevated {
    $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object Security.Principal.WindowsPrincipal($identity)
    return $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

# Runs a program of the system and fails with its words, which PowerShell would let pass.
function Invoke-Tool([string]$Tool, [string[]]$Arguments) {
    $preference = $ErrorActionPreference
    $ErrorActionPreference = 'Continue' # 5.1 takes a line on standard error for a failure
    try {
        $said = & $Tool $Arguments 2>&1 | ForEach-Object { "$_" }
        $code = $LASTEXITCODE
    } finally {
        $ErrorActionPreference = $preference
    }
    if ($code -ne 0) {
        throw "$Tool $($Arguments[0]) ended with exit code ${code}: $(($said | Where-Object { $_ }) -join ' ')"
    }
    return $said
}

function Get-OurService { return Get-Service -Name $Name -ErrorAction SilentlyContinue }

function Stop-OurService {
    $service = Get-OurService
    if ($null -eq $service -or $service.Status -eq 'Stopped') { return }
    Write-Host "stopping $Name; what is under way is finished first"
    if ($service.Status -ne 'StopPending') { $service.Stop() }
    try {
        $service.WaitForStatus('Stopped', [TimeSpan]::FromSeconds($StopSeconds))
    } catch [System.ServiceProcess.TimeoutException] {
        throw "the service has not stopped within $StopSeconds s; end chatgpt-platform.exe in the Task Manager and try again"
    }
}

# The launcher of the one-file executable lives a moment longer than its service.
function Wait-Unused([string]$Path) {
    if (-not (Test-Path -LiteralPath $Path)) { return }
    $deadline = [DateTime]::UtcNow.AddSeconds(15)
    while ($true) {
        try {
            [IO.File]::Open($Path, 'Open', 'ReadWrite', 'None').Dispose()
            return
        } catch [IO.IOException] {
            if ([DateTime]::UtcNow -ge $deadline) {
                throw "$Path is in use; end chatgpt-platform.exe in the Task Manager and try again"
            }
            Start-Sleep -Milliseconds 200
        }
    }
}

function Set-Rights([string]$Path, [string[]]$Grants) {
    [void](Invoke-Tool 'icacls.exe' @($Path, '/setowner', $Administrators, '/q'))
    [void](Invoke-Tool 'icacls.exe' @($Path, '/reset', '/q'))
    [void](Invoke-Tool 'icacls.exe' (@($Path, '/inheritance:r', '/grant:r') + $Grants + @('/q')))
}

# Everybody may write to ProgramData: somebody else's configuration may lie in our folder, waiting for our key.
function Assert-Ours([string]$Path) {
    if ((Get-Item -LiteralPath $Path -Force).Attributes -band [IO.FileAttributes]::ReparsePoint) {
        throw "$Path is a link; remove it, since its target would be given to the service"
    }
    $owner = (Get-Acl -LiteralPath $Path).GetOwner([Security.Principal.SecurityIdentifier]).Value
    $us = [Security.Principal.WindowsIdentity]::GetCurrent().User.Value
    if (@('S-1-5-18', 'S-1-5-32-544', $us) -notcontains $owner) {
        throw "$Path was not made by an administrator; look at it, then delete it and try again"
    }
}

# No recursion: it would follow links that the service made below logs, state and temp. Files inherit from folders.
function Initialize-Data {
    $rights = @("${System}:(OI)(CI)F", "${Administrators}:(OI)(CI)F")
    if (-not (Test-Path -LiteralPath $Data)) { [void](New-Item -ItemType Directory -Path $Data) }
    Assert-Ours $Data
    Set-Rights $Data $rights # from here on nobody else can add to it
    Get-ChildItem -LiteralPath $Data -Force | ForEach-Object { Assert-Ours $_.FullName }
    foreach ($folder in @($Logs, $State, $Temp)) {
        if (-not (Test-Path -LiteralPath $folder)) { [void](New-Item -ItemType Directory -Path $folder) }
        Set-Rights $folder $rights
    }
    Get-ChildItem -LiteralPath $Data -File -Force | ForEach-Object {
        [void](Invoke-Tool 'icacls.exe' @($_.FullName, '/setowner', $Administrators, '/q'))
        [void](Invoke-Tool 'icacls.exe' @($_.FullName, '/reset', '/q'))
    }
}

# The virtual account is there as soon as the service is.
function Grant-Service {
    [void](Invoke-Tool 'icacls.exe' @($Data, '/grant:r', "${Account}:(OI)(CI)RX", '/q'))
    $Logs, $State, $Temp | ForEach-Object {
        [void](Invoke-Tool 'icacls.exe' @($_, '/grant:r', "${Account}:(OI)(CI)M", '/q'))
    }
    if (Test-Path -LiteralPath $Key) { Set-Rights $Key @("${System}:F", "${Administrators}:F", "${Account}:R") }
}

function Install-Program([string]$Source) {
    if (-not (Test-Path -LiteralPath $Program)) { [void](New-Item -ItemType Directory -Path $Program) }
    Wait-Unused $Installed
    Copy-Item -LiteralPath $Source -Destination $Installed -Force
    Unblock-File -LiteralPath $Installed
    [void](Invoke-Tool $Installed @('version'))
}

function Write-Config {
    if (Test-Path -LiteralPath $Config) { return }
    [void](Invoke-Tool $Installed @('init', $Config))
    # In the file, not in a variable of the service: the command keys finds it there too.
    $text = [IO.File]::ReadAllText($Config) -replace '(?s)(\nstate:.*?\n)  # directory: ""', "`${1}  directory: '$State'"
    [IO.File]::WriteAllText($Config, $text)
    Write-Host "$Config is written; change what you like, then: Restart-Service $Name"
}

function Read-Key {
    if ($KeyFile) { return [IO.File]::ReadAllText((Resolve-Path -LiteralPath $KeyFile).ProviderPath).Trim() }
    if ($NoKey -or (Test-Path -LiteralPath $Key)) { return '' }
    $typed = Read-Host -AsSecureString -Prompt 'The key of the upstream service (empty: each caller brings one)'
    $pointer = [Runtime.InteropServices.Marshal]::SecureStringToBSTR($typed)
    try {
        return [Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer).Trim()
    } finally {
        [Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer)
    }
}

# The folder lets in nobody but the system and the administrators by now.
function Write-Key {
    $text = Read-Key
    if ($text) {
        [IO.File]::WriteAllText($Key, "$text`n", (New-Object Text.UTF8Encoding($false)))
    } elseif ($KeyFile) {
        throw "$KeyFile is empty"
    }
}

# Through CIM, not sc.exe: its quoting of a path with blanks differs between PowerShell 5.1 and 7.
function Register-Service {
    $command = "`"$Installed`" serve --service --config `"$Config`""
    if ($null -eq (Get-OurService)) {
        [void](New-Service -Name $Name -DisplayName $DisplayName -BinaryPathName $command -StartupType Automatic `
            -Description 'Shares access to an OpenAI-compatible model service: one key, limits for each caller.')
    }
    $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='$Name'"
    $changed = Invoke-CimMethod -InputObject $service -MethodName Change -Arguments @{
        PathName = $command; DisplayName = $DisplayName; StartMode = 'Automatic'; StartName = $Account
    } # no password: that of a virtual account must be left out
    if ($changed.ReturnValue -ne 0) {
        throw "the service cannot be set up (Win32_Service.Change returned $($changed.ReturnValue))"
    }
    [void](Invoke-Tool 'sc.exe' @('sidtype', $Name, 'unrestricted'))
    [void](Invoke-Tool 'sc.exe' @('privs', $Name, 'SeChangeNotifyPrivilege'))
    [void](Invoke-Tool 'sc.exe' @('failure', $Name, 'reset=', '86400', 'actions=', 'restart/5000/restart/15000/restart/60000'))
    [void](Invoke-Tool 'sc.exe' @('failureflag', $Name, '1')) # an exit code other than 0 is a failure too
    Set-ServiceEnvironment
}

# A service that is told to stop may take this long at a shutdown of the machine; Windows' own limit is 10 s.
function Set-ServiceEnvironment {
    $variables = @("CHATGPT_LOGGING__DIRECTORY=$Logs", "TEMP=$Temp", "TMP=$Temp")
    if (Test-Path -LiteralPath $Key) { $variables += "API_KEY_FILE=$Key" }
    [void](New-ItemProperty -Path $ServiceKey -Name Environment -PropertyType MultiString -Value $variables -Force)
    [void](New-ItemProperty -Path $ServiceKey -Name PreshutdownTimeout -PropertyType DWord -Value 45000 -Force)
    if (-not (Test-Path -Path $EventKey)) { [void](New-Item -Path $EventKey) }
    $messages = '%SystemRoot%\Microsoft.NET\Framework64\v4.0.30319\EventLogMessages.dll'
    [void](New-ItemProperty -Path $EventKey -Name EventMessageFile -PropertyType ExpandString -Value $messages -Force)
    [void](New-ItemProperty -Path $EventKey -Name TypesSupported -PropertyType DWord -Value 7 -Force)
}

# As the service will be: without the settings that happen to be in the variables of who installs it.
function Invoke-AsConfigured([string]$Command) {
    $ours = @(Get-ChildItem -Path env: | Where-Object {
        $_.Name -like 'CHATGPT_*' -or $_.Name -match '^(API_KEY|BASE_URL|PORT|ROUTE|(SECOND|MINUTE|HOUR|DAY)_LIMIT)(_FILE)?$'
    })
    $ours | ForEach-Object { Remove-Item -LiteralPath "env:$($_.Name)" }
    try {
        if (Test-Path -LiteralPath $Key) { $env:API_KEY_FILE = $Key }
        return Invoke-Tool $Installed @($Command, '--config', $Config)
    } finally {
        $env:API_KEY_FILE = $null
        $ours | ForEach-Object { Set-Item -LiteralPath "env:$($_.Name)" -Value $_.Value }
    }
}

function Get-Port([string[]]$Listing) {
    foreach ($line in $Listing) {
        if ($line -match '^server\.port = (\d+)') { return [int]$Matches[1] }
    }
    throw 'the configured port is not known: chatgpt-platform check did not name it'
}

function Open-Firewall([int]$Port) {
    Remove-NetFirewallRule -DisplayName $Rule -ErrorAction SilentlyContinue
    [void](New-NetFirewallRule -DisplayName $Rule -Direction Inbound -Action Allow -Protocol TCP -LocalPort $Port `
        -Program $Installed)
}

function Start-OurService {
    try {
        Start-Service -Name $Name
    } catch {
        throw "the service does not start: $(Get-Reason $_.Exception.Message)"
    }
    $deadline = [DateTime]::UtcNow.AddSeconds($ReadySeconds)
    while ($true) {
        try {
            [void](Invoke-AsConfigured 'healthcheck')
            return
        } catch {
            if ([DateTime]::UtcNow -ge $deadline) {
                throw "the service is not ready after $ReadySeconds s: $(Get-Reason $_.Exception.Message)"
            }
            Start-Sleep -Milliseconds 500
        }
    }
}

# What the service itself said in the event log, rather than what Windows says of it.
function Get-Reason([string]$Otherwise) {
    $since = [DateTime]::Now.AddMinutes(-2)
    try {
        $events = Get-WinEvent -FilterHashtable @{ LogName = 'Application'; ProviderName = $Name; StartTime = $since }
        $own = @($events | Where-Object { $_.Id -eq 1 } | ForEach-Object { $_.Properties[0].Value })
        if ($own.Count -gt 0) { return $own[0] }
    } catch {
        Write-Verbose "no events: $($_.Exception.Message)"
    }
    return "$Otherwise (see $Logs\app.log and the event log, Application)"
}

function Install-All {
    $source = $Executable
    if (-not $source) { $source = Join-Path $PSScriptRoot 'chatgpt-platform.exe' }
    if (-not (Test-Path -LiteralPath $source -PathType Leaf)) {
        throw "$source is not there; put chatgpt-platform.exe beside this script or name it with -Executable"
    }
    if ($KeyFile -and -not (Test-Path -LiteralPath $KeyFile -PathType Leaf)) { throw "$KeyFile is not there (-KeyFile)" }
    Stop-OurService
    Install-Program $source
    Initialize-Data
    Write-Config
    Write-Key
    Register-Service
    Grant-Service
    $port = Get-Port (Invoke-AsConfigured 'check')
    if ($OpenFirewall) { Open-Firewall $port }
    Start-OurService
    Write-Host "$DisplayName is ready on port $port, http://127.0.0.1:$port unless TLS is set up"
    Write-Host "configuration: $Config; logs: $Logs; state: $State"
}

# Not Remove-Item -Recurse: that of 5.1 goes through a junction, and the service could have made one.
function Remove-Folder([string]$Path) {
    if (-not (Test-Path -LiteralPath $Path)) { return }
    [void](Invoke-Tool 'cmd.exe' @('/d', '/c', 'rd', '/s', '/q', $Path))
    if (Test-Path -LiteralPath $Path) { throw "$Path cannot be deleted as a whole; something in it is in use" }
}

function Remove-All {
    Stop-OurService
    if ($null -ne (Get-OurService)) { [void](Invoke-Tool 'sc.exe' @('delete', $Name)) }
    Remove-NetFirewallRule -DisplayName $Rule -ErrorAction SilentlyContinue
    if (Test-Path -Path $EventKey) { Remove-Item -Path $EventKey -Recurse }
    Wait-Unused $Installed
    Remove-Folder $Program
    if ($Purge) { Remove-Folder $Data }
    Write-Host "$DisplayName is removed"
    if (Test-Path -LiteralPath $Data) { Write-Host "configuration, key, logs and state stay in $Data (-Purge deletes them)" }
}

if ($env:OS -ne 'Windows_NT') { Fail 'this is for Windows; on Linux use packaging/systemd/install.sh' 2 }
if (-not (Test-Elevated)) { Fail 'run this in a PowerShell that was started as administrator' 2 }
if ($Purge -and -not $Remove) { Fail '-Purge goes with -Remove alone' 2 }
if ($Remove -and ($KeyFile -or $NoKey -or $OpenFirewall -or $Executable)) { Fail '-Remove goes with -Purge alone' 2 }
if ($KeyFile -and $NoKey) { Fail '-KeyFile and -NoKey exclude each other' 2 }
try {
    if ($Remove) { Remove-All } else { Install-All }
} catch {
    Fail $_.Exception.Message
}
exit 0
